"""The finalize process: makes one job's file of its tape, checks it, stores it with its report, and says how it went.

`python -m edumeet_recording.node.finalize --work-dir DIR` reads a `FinalizeTask` from stdin and prints JSON lines: any
number of `{"phase", "fraction"}`, then one `FinalizeDone` or `FinalizeFailed`, after which it exits with 0. It runs at
low priority and dies with its parent, FFmpeg with it.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path

from edumeet_recording.config import NodeSettings
from edumeet_recording.lifeline import die_with_parent
from edumeet_recording.node.assemble import PHASES, assemble
from edumeet_recording.node.transcode import Converter
from edumeet_recording.storage.regional import RegionalStore
from edumeet_recording.wire.node_link import FinalizeTask

NICE = 10
COLLECT_EVERY = 100_000
"""Objects between two runs of the garbage collector: packets are many, and make no cycles."""
ENDS = dict(zip(PHASES, (0.25, 0.35, 0.5, 0.85, 0.9, 1.0), strict=True))
"""Where on the way each phase ends, of the whole."""


class _Progress:
    """Prints progress of the whole as JSON lines, no more than a hundred."""

    def __init__(self) -> None:
        self._printed = ("", -1.0)

    def __call__(self, phase: str, fraction: float) -> None:
        ends = list(ENDS.values())
        at = PHASES.index(phase)
        start = ends[at - 1] if at else 0.0
        whole = round(start + (ends[at] - start) * fraction, 2)
        if (phase, whole) != self._printed:
            self._printed = phase, whole
            _print_line(json.dumps({"phase": phase, "fraction": whole}))


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _run(task: FinalizeTask, settings: NodeSettings, work_dir: Path) -> None:
    store = RegionalStore.open(settings)
    outcome = await assemble(task, store, work_dir, Converter.of(settings), _Progress())
    _print_line(outcome.to_json())


def main() -> None:
    """Entry of the process."""
    parser = ArgumentParser(prog="python -m edumeet_recording.node.finalize", description=__doc__)
    parser.add_argument("--work-dir", type=Path, required=True, help="an empty folder the caller deletes afterwards")
    arguments = parser.parse_args()
    die_with_parent(signal.SIGTERM)
    os.nice(NICE)
    gc.set_threshold(COLLECT_EVERY)
    task = FinalizeTask.model_validate_json(sys.stdin.buffer.read())
    asyncio.run(_run(task, NodeSettings.model_validate({}), arguments.work_dir))


if __name__ == "__main__":
    main()
