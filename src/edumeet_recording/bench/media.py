"""How true the files are: every content scenario once, through a whole service, compared with what was sent."""

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from edumeet_recording.sim.scenarios import SCENARIOS
from edumeet_recording.sim.trial import Trial, put_to_trial, recording_service

RESULT = Path("build/bench/media.json")
Figures = dict[str, float | None]


async def measure() -> dict[str, Trial]:
    """Every scenario, by name."""
    with TemporaryDirectory(dir=RESULT.parent.absolute()) as made:
        folder = Path(made)
        async with recording_service(folder) as (client, server):
            return await put_to_trial(client, server, SCENARIOS.values(), folder)


def figures(trial: Trial) -> Figures:
    """Offsets and cadence in ms, presence 0 to 1; no offset where there is only sound or only picture."""
    verdict = trial.verdict
    offset = verdict.content.offset_p95_ms
    return {
        "av_offset_p95_ms": None if offset is None else round(offset, 1),
        "presence": round(verdict.presence, 4),
        "cadence_p95_ms": round(verdict.cadence_p95_ms, 1),
        "decode_errors": verdict.content.decode_errors,
    }


def worst(scenarios: Iterable[Mapping[str, float | None]]) -> Figures:
    """The worst of each figure: the least presence, the most of the others."""

    def of(name: str) -> list[float]:
        return [value for each in every if (value := each[name]) is not None]

    every = list(scenarios)
    names = ("av_offset_p95_ms", "cadence_p95_ms", "decode_errors")
    return {**{name: max(of(name)) for name in names}, "presence": min(of("presence"))}


def _print(trials: Mapping[str, Trial], by_name: Mapping[str, Figures]) -> None:
    table = Table(title="Media: what is in the file, against what was sent (A/V, cadence: p95)", box=SIMPLE_HEAD)
    columns = ("A/V ms", "presence", "cadence ms", "errors", "PSNR dB", "lost", "never came")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    for name, trial in trials.items():
        shown, passages = by_name[name], trial.passages.values()
        offset, pictures = shown["av_offset_p95_ms"], trial.verdict.fidelity
        table.add_row(
            name,
            "" if offset is None else f"{offset:.0f}",
            f"{shown['presence']:.1%}",
            f"{shown['cadence_p95_ms']:.0f}",
            f"{shown['decode_errors']}",
            "" if pictures is None else f"{pictures.worst_db:.1f}",
            str(sum(each.lost for each in passages)),
            str(sum(each.missing for each in passages)),
            style="red" if trial.verdict.failures else "",
        )
    console = Console()
    console.print(table)
    for name, trial in trials.items():
        for failure in trial.verdict.failures:
            console.print(f"[red]✗[/] {name}: {failure}")


def main() -> None:
    """Measure, print, and write the figures; exit code 1 where a file is not as it must be."""
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    trials = asyncio.run(measure())
    by_name = {name: figures(trial) for name, trial in trials.items()}
    _print(trials, by_name)
    RESULT.write_text(json.dumps({"scenarios": by_name, "worst": worst(by_name.values())}, indent=2) + "\n")
    if any(trial.verdict.failures for trial in trials.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
