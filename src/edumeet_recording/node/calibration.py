"""What `edumeet-recording node --calibrate` found out about a machine, or its node has learned; kept with its state."""

import os
import time
from pathlib import Path

import structlog
from pydantic import ValidationError

from edumeet_recording.wire.base import Message

FILE = "capacity.json"
TEST_BYTES = 256 * 1024 * 1024
_BLOCK = os.urandom(1024 * 1024)
_NETWORKS = Path("/sys/class/net")

_log = structlog.get_logger(__name__)


class Calibration(Message):
    """`cost_factor`: what a capture costs here as a multiple of its price; bytes a second None: unknown, no limit."""

    cost_factor: float = 1.0
    disk_bytes_per_s: float | None = None
    network_bytes_per_s: float | None = None


def kept_calibration(folder: Path) -> Calibration:
    """That of the node whose state is in `folder`; of a machine that nobody has measured, what the price says."""
    try:
        return Calibration.model_validate_json((folder / FILE).read_text())
    except FileNotFoundError:
        return Calibration()
    except ValidationError as error:
        _log.warning("the calibration cannot be read: measure again", file=str(folder / FILE), error=str(error))
        return Calibration()


def keep_calibration(folder: Path, calibration: Calibration) -> None:
    """For the node's next start. Raises `OSError` where it cannot be written; then what was kept before stands."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{FILE}.new"
    new.write_text(calibration.to_json() + "\n")
    new.replace(folder / FILE)


def disk_bytes_per_s(folder: Path) -> float:
    """How fast the disk of `folder` takes what is written and synced to it. Raises `OSError` where it cannot."""
    path = folder / "calibration.tmp"
    began = time.monotonic()
    try:
        with path.open("wb") as file:
            for _ in range(TEST_BYTES // len(_BLOCK)):
                file.write(_BLOCK)
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)
    return TEST_BYTES / (time.monotonic() - began)


def network_bytes_per_s() -> float | None:
    """What the fastest network interface that is up carries in one direction; None where none says (virtual ones)."""
    speeds = [_megabits(interface) for interface in _NETWORKS.iterdir()] if _NETWORKS.exists() else []
    fastest = max(speeds, default=0)
    return fastest * 1e6 / 8 if fastest > 0 else None


def _megabits(interface: Path) -> int:
    try:
        return int((interface / "speed").read_text()) if (interface / "operstate").read_text().strip() == "up" else 0
    except (OSError, ValueError):
        return 0
