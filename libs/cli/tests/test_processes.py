"""Ports that servers are told to listen on."""

import socket
import subprocess
import sys

import pytest
from cli.processes import _reserve, free_port, port_is_free


def test_a_free_port_is_the_systems_for_nobody_else_and_a_server_gets_it() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))  # as the system itself looks for a port that is free
    with socket.create_server(("127.0.0.1", port)):
        assert not port_is_free(port)


HOLDER = """
import sys
from cli.processes import free_port
print(*(free_port() for _ in range(3)), flush=True)
sys.stdin.read()
"""


def test_a_port_that_one_process_was_told_is_told_to_no_other_while_that_one_lives() -> None:
    mine = free_port()
    assert not _reserve(mine), "nor to itself again"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = [int(port) for port in other.stdout.readline().split()]
        assert [_reserve(port) for port in theirs] == [False] * 3, "though nothing listens there"
        other.communicate("")
    assert [_reserve(port) for port in theirs] == [True] * 3
