"""`edumeet-recording demo`: runs `sim.demo`, and says what came of it."""

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table

from edumeet_recording.cli.outcome import ExitCode
from edumeet_recording.cli.printing import print_answer, stderr, stdout
from edumeet_recording.cli.scaling_tables import decisions_table
from edumeet_recording.cli.tables import size, status_text
from edumeet_recording.sim.demo import DemoResult, run_demo
from edumeet_recording.sim.takes import Take
from edumeet_recording.sim.verdict import Verdict

FOLDER = Path("build/demo")


def demonstrate(seconds: float, *, as_json: bool) -> ExitCode:
    """Run it, show it, and say whether every check held."""
    with _Stage() as stage:
        result = asyncio.run(_interruptible(FOLDER.absolute(), seconds, stage))
    verdicts = _verdicts(result)
    shown = Group(_table(verdicts), decisions_table(result.scaling.decisions))
    print_answer(_as_data(result), shown, as_json=as_json)
    failures = [f"{each.path.name}: {failure}" for each in verdicts for failure in each.failures]
    failures += result.scaling.failures
    if not as_json:
        _tell(result, failures)
    return ExitCode.FAILED if failures else ExitCode.OK


async def _interruptible(folder: Path, seconds: float, stage: "_Stage") -> DemoResult:
    """SIGTERM ends it as Ctrl-C does: clean."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await run_demo(folder, seconds, stage)
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error


class _Stage:
    """What is going on, as lines, and a bar for each file that is made."""

    def __init__(self) -> None:
        columns = (TextColumn("  {task.description}"), BarColumn(), TaskProgressColumn())
        self._bars = Progress(*columns, console=stderr, transient=True, redirect_stdout=False)
        self._tasks: dict[Take, TaskID] = {}

    def __enter__(self) -> "_Stage":
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def step(self, doing: str) -> None:
        """A line."""
        stderr.print(f"{doing} …", style="dim")

    def progress(self, take: Take, doing: str, fraction: float) -> None:
        """The bar of a take."""
        if take not in self._tasks:
            self._tasks[take] = self._bars.add_task("", total=1.0)
        self._bars.update(self._tasks[take], description=f"{take.file_name}: {doing}", completed=fraction)


def _verdicts(result: DemoResult) -> tuple[Verdict, ...]:
    return (*result.verdicts, *result.scaling.verdicts)


def _table(verdicts: Iterable[Verdict]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("file", "status", "node", "duration", "size", "codecs", "A/V p95", "found", "lost"):
        table.add_column(column, no_wrap=True)
    for each in verdicts:
        content = each.content
        offset = content.offset_p95_ms
        table.add_row(
            str(each.path.relative_to(Path.cwd()) if each.path.is_relative_to(Path.cwd()) else each.path),
            status_text(each.recording.status),
            each.recording.node_id or "",
            f"{content.duration_s:.2f} s",
            size(each.path.stat().st_size),
            _codecs(each),
            "" if offset is None else f"{offset:.0f} ms",
            f"{each.presence:.1%}",
            f"{each.loss:.2%}",
            style="red" if each.failures else "",
        )
    return table


def _tell(result: DemoResult, failures: list[str]) -> None:
    stdout.print(
        f"Capturing cost {result.capture_ms:.1f} ms of one core for each second of each recording "
        f"({result.capture_ms / 10:.2f} %), two whole node processes included. It all took {result.took_s:.0f} s."
    )
    if not failures:
        stdout.print("Every check held.", style="green")
    for failure in failures:
        stdout.print(f"failed: {failure}", style="red")


def _as_data(result: DemoResult) -> dict[str, object]:
    return {
        "captureMsPerMediaSecond": result.capture_ms,
        "tookS": result.took_s,
        "decisions": [each.model_dump(mode="json", by_alias=True) for each in result.scaling.decisions],
        "recordings": [
            {
                "jobId": each.recording.job_id,
                "peerId": each.recording.peer_id,
                "status": each.recording.status,
                "nodeId": each.recording.node_id,
                "path": str(each.path),
                "bytes": each.path.stat().st_size,
                "durationS": each.content.duration_s,
                "expectedS": each.expected_s,
                "codecs": _codecs(each),
                "offsetMedianMs": each.content.offset_median_ms,
                "offsetP95Ms": each.content.offset_p95_ms,
                "presence": each.presence,
                "loss": each.loss,
                "failures": each.failures,
            }
            for each in _verdicts(result)
        ],
    }


def _codecs(verdict: Verdict) -> str:
    return "+".join(each.codec for each in (verdict.content.audio, verdict.content.video) if each)
