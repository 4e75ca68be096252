"""A replica whose loop fails for good: it lets everybody go, ends, and says why."""

import asyncio
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.integration.server.conftest import healthy, node, replica
from tests.waiting import eventually

from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.loop import Loop, LoopBroken
from edumeet_recording.server import main

ENDED_WITHIN_S = 8.0


async def test_it_ends_in_its_grace_whoever_is_still_connected(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tick = LiveFleet.tick
    breaks_at: float | None = None

    async def breaking(fleet: LiveFleet) -> None:
        if breaks_at is not None:
            raise RuntimeError("a defect")
        await tick(fleet)

    monkeypatch.setattr(LiveFleet, "tick", breaking)
    monkeypatch.setattr(main, "Loop", partial(Loop, most_failures=2))

    async def serve_until_it_breaks() -> None:
        nonlocal breaks_at
        async with replica(dsn, tmp_path) as at, node(at, "node-1") as linked:
            await eventually(lambda: healthy(at.client, "node-1"), timeout=10)
            where = urlsplit(at.url)
            _, slow = await asyncio.open_connection(where.hostname, where.port)
            slow.write(b"POST /api/recordings/start HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nwaits")
            breaks_at = time.monotonic()
            try:
                await eventually(lambda: linked.sent_away, timeout=10)
                await asyncio.Event().wait()
            finally:
                slow.close()

    with pytest.raises(ExceptionGroup) as raised:
        await serve_until_it_breaks()
    assert raised.group_contains(LoopBroken, match="known_fleet failed 2 times")
    assert breaks_at is not None
    assert time.monotonic() - breaks_at < ENDED_WITHIN_S
    assert not [each for each in caplog.records if each.name.startswith("uvicorn") and each.exc_info]
