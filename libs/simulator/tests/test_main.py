"""The whole program in a process of its own, and the two listeners over TCP."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from simulator import Fault, load, running
from simulator.__main__ import main


class Program:
    """A running simulator and what its ready file said."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
        self.process, self.ready = process, ready


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    path = tmp_path / "ready.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--ready-file", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield Program(process, _ready(path, process))
    finally:
        process.kill()
        process.communicate()


def _ready(path: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    _until(lambda: path.exists() or process.poll() is not None)
    assert process.poll() is None, "the simulator ended early"
    ready: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return ready


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def test_the_ready_file_names_two_live_listeners(program: Program) -> None:
    assert program.ready["pid"] == program.process.pid
    assert httpx.get(program.ready["url"] + "/api/v2/public/time").json()["code"] == "00000"
    assert httpx.get(program.ready["control_url"] + "/healthz").json() == {"status": "ok"}


def test_the_listeners_are_apart(program: Program) -> None:
    assert httpx.get(program.ready["url"] + "/accounts").status_code == 404
    assert httpx.get(program.ready["control_url"] + "/api/v2/public/time").status_code == 404


def test_sigterm_ends_it_promptly_even_with_a_request_under_way(program: Program) -> None:
    control = program.ready["control_url"]
    httpx.put(control + "/faults", json={"faults": [{"kind": "latency", "seconds": 60, "times": 1}]})
    host, port = program.ready["url"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as waiting:
        waiting.sendall(b"GET /api/v2/public/time HTTP/1.1\r\nHost: x\r\n\r\n")
        _until(lambda: httpx.get(control + "/faults").json()["faults"][0]["times"] == 0)
        program.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        output, errors = program.process.communicate(timeout=10)
    assert (program.process.returncode, errors) == (0, b"")
    assert time.monotonic() - started < 3
    assert json.loads(output) == program.ready


def test_a_taken_port_and_a_wrong_file_give_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("colour: red\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 2
    assert main(["--config", str(wrong)]) == 2
    assert main(["--config", str(tmp_path / "absent.yaml")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "unknown field 'colour'" in lines[1]


async def test_a_reset_cuts_the_connection_without_an_answer() -> None:
    exchange = load()
    exchange.faults.replace([Fault("reset", times=1)])
    async with running(exchange) as addresses, httpx.AsyncClient(base_url=addresses.url) as http:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await http.get("/api/v2/public/time")
        assert (await http.get("/api/v2/public/time")).status_code == 200


async def test_the_socket_shows_the_raw_target() -> None:
    exchange = load()
    async with running(exchange) as addresses, httpx.AsyncClient(base_url=addresses.url) as http:
        await http.get("/api/v3/a%2Fb?x=%24y&z=a+b")
    assert exchange.log[-1].target == "/api/v3/a%2Fb?x=%24y&z=a+b"
    assert exchange.log[-1].peer == "127.0.0.1"


async def test_refused_connections_are_refused_until_the_fault_is_removed() -> None:
    exchange = load()
    async with running(exchange) as addresses, httpx.AsyncClient() as http:
        url, faults = addresses.url + "/api/v2/public/time", addresses.control_url + "/faults"
        assert (await http.get(url)).status_code == 200
        await http.put(faults, json={"faults": [{"kind": "refuse"}]})
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await http.get(url)
        await http.delete(faults)
        assert (await http.get(url)).status_code == 200
