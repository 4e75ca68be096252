"""Unit tests speak to nobody: every socket that would bind or connect is refused."""

import socket
from typing import NoReturn

import pytest


class SocketRefused(Exception):
    """A unit test tried to use the network; it belongs in tests/integration."""


def _refuse(*arguments: object) -> NoReturn:
    raise SocketRefused(f"tests/unit may not use sockets: {arguments[1:]!r}")


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    # asyncio's own wake-up is a socketpair, which neither binds nor connects
    for method in ("bind", "connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, method, _refuse)
