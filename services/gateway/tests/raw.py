"""Requests and answers as bytes on a socket, where a client would hide what is sent."""

import json
import socket
import time


def talk(port, data, seconds=5.0):
    """Send bytes, and return everything that comes back until the server closes or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        connection.settimeout(0.5)
        received = b""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                part = connection.recv(65536)
            except TimeoutError:
                if received:
                    break
                continue
            if not part:
                break
            received += part
        return received


def problems(received):
    """Return (status, code) of each answer in the bytes."""
    found = []
    for part in received.split(b"HTTP/1.1 ")[1:]:
        head, _, body = part.partition(b"\r\n\r\n")
        assert b"problem+json" in head, part
        found.append((int(head[:3]), json.loads(body)["code"]))
    return found


def message(line="GET /v1/bindings HTTP/1.1", *headers, body=b""):
    return ("\r\n".join([line, *headers]) + "\r\n\r\n").encode("latin-1") + body
