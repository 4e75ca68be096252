"""The guard of this folder guards."""

import asyncio
import socket

import pytest


def test_sockets_are_refused() -> None:
    with socket.socket() as sock, pytest.raises(Exception, match="may not use sockets"):
        sock.bind(("127.0.0.1", 0))


async def test_asyncio_cannot_connect_either() -> None:
    with pytest.raises(Exception, match="may not use sockets"):
        await asyncio.open_connection("127.0.0.1", 9)
