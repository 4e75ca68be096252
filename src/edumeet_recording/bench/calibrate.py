"""What a capture costs here against its price: the node's part of the capture bench, and the speed of the disk."""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from edumeet_recording.bench.capture import STREAMS, Bench, child
from edumeet_recording.domain.capacity import CHEAPEST, DEAREST
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.price import price
from edumeet_recording.node.calibration import Calibration, disk_bytes_per_s, network_bytes_per_s

RECORDINGS = 20
SECONDS = 10.0


async def calibrate(folder: Path) -> Calibration:
    """Record for some seconds into `folder`, whose disk is measured too. Raises `Unavailable` where that fails."""
    with TemporaryDirectory(dir=folder) as work:
        async with child(sys.executable, "-m", "edumeet_recording.bench.sender") as sender:
            if sender.stdout is None or await sender.stdout.readline() != b"ready\n":
                raise Unavailable("the sender of the test streams did not start")
            measured = await Bench(RECORDINGS, SECONDS, Path(work), sender).node()
    # milliseconds of a core in a second are milli-cores
    factor = measured.cpu_ms_per_media_s / price(STREAMS).mcpu
    return Calibration(
        cost_factor=round(min(max(factor, CHEAPEST), DEAREST), 3),
        disk_bytes_per_s=round(await asyncio.to_thread(disk_bytes_per_s, folder)),
        network_bytes_per_s=network_bytes_per_s(),
    )
