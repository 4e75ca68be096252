"""`edumeet-recording simulate-fleet`: runs `sim.fleet`, and says what came of it."""

import asyncio
import shutil
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edumeet_recording.cli.outcome import ExitCode
from edumeet_recording.cli.printing import print_answer, stderr
from edumeet_recording.cli.service import Json
from edumeet_recording.cli.settings import BadSettings
from edumeet_recording.telemetry import configure_logging

FOLDER = Path("build/fleet")
LEAST_MINUTES, RECORDINGS_A_MINUTE = 5, 2000
"""Of a day whose length nobody chose: what two cores do."""


def simulate_fleet(
    *,
    nodes: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many the busiest moment needs, with some to spare.")
    ] = 60,
    recordings: Annotated[int, typer.Option(min=1, max=1_000_000, help="In the whole day.")] = 3000,
    regions: Annotated[int, typer.Option(min=1, max=6)] = 3,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=1440,
            help="How long the day takes at least: its clock slows down where the service falls behind.",
            show_default="as the number of recordings asks for",
        ),
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, max=8, help="Of the orchestrator.")] = 1,
    failures: Annotated[int, typer.Option(min=0, help="Machines that are lost in the course of the day.")] = 3,
    autoscale: Annotated[
        bool, typer.Option(help="Let the autoscaler have nodes; else all of them run all day.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the day's plan.")] = 1,
    as_json: Json = False,
) -> None:
    """Simulate a university's day: real orchestrators and PostgreSQL; nodes that speak the wire, but record nothing.

    Lectures start on the hour. Everything is gone afterwards, but for figures, plots and logs in build/fleet. Exits
    with 0 only if every recording was accepted.
    """
    try:
        from edumeet_recording.sim.fleet.figures import figures
        from edumeet_recording.sim.fleet.plots import draw
        from edumeet_recording.sim.fleet.scenario import Scenario
        from edumeet_recording.sim.fleet.simulation import live
    except ImportError as error:
        raise BadSettings(f"this needs the extras: edumeet-recording[kubernetes,plots] ({error})") from error

    configure_logging("error", "console")
    scenario = Scenario(
        nodes=nodes,
        recordings=recordings,
        regions=regions,
        minutes=max(LEAST_MINUTES, recordings / RECORDINGS_A_MINUTE) if minutes is None else minutes,
        replicas=replicas,
        failures=failures,
        autoscaled=autoscale,
        seed=seed,
    )
    folder = FOLDER.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    stderr.print(f"a day in {scenario.minutes:g} minutes or more …", style="dim")
    with tempfile.TemporaryDirectory(prefix="state-", dir=folder) as state:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            lived = runner.run(live(scenario, Path(state), partial(stderr.print, style="dim")))
        for log in Path(state).glob("*.log"):
            shutil.copy(log, folder)
    result = figures(lived)
    page = draw(lived, result, folder)
    table = Table(box=SIMPLE_HEAD, show_header=False)
    for name, value in asdict(result).items():
        table.add_row(name.replace("_", " "), f"{value:.3g}" if isinstance(value, float) else str(value))
    print_answer({"figures": asdict(result), "page": str(page)}, table, as_json=as_json)
    stderr.print(f"plots: {page}")
    raise typer.Exit(ExitCode.FAILED if result.refused else ExitCode.OK)
