"""An embedded PostgreSQL in a process of its own, to be killed: `python -m edumeet_recording.sim.faults.database DIR`.

It prints `{"port": …, "dsn": …}` once the server answers, and runs until SIGINT.
"""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from edumeet_recording.store.embedded import embedded_postgres


async def own(state_dir: Path) -> None:
    """Own a server on `state_dir` until cancelled."""
    async with embedded_postgres(state_dir) as dsn:
        sys.stdout.write(json.dumps({"port": str(urlsplit(dsn).port), "dsn": dsn}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(own(Path(sys.argv[1])))
