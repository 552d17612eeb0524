"""Ports that servers are told to listen on."""

import socket

import pytest
from cli.processes import free_port, port_is_free


def test_a_free_port_is_the_systems_for_nobody_else_and_a_server_gets_it() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))  # as the system itself looks for a port that is free
    with socket.create_server(("127.0.0.1", port)):
        assert not port_is_free(port)
