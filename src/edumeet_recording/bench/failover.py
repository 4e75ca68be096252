"""`python -m edumeet_recording.bench.failover`: what each fault costs while recordings run, and random ones besides.

Two orchestrators, three nodes, PostgreSQL and an S3 server are processes of this machine, and share its cores with the
peers that are recorded: where each has a machine of its own, recovery is sooner.
"""

import asyncio
import json
import secrets
import shutil
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from rich.console import Console
from rich.table import Table

from edumeet_recording.bench.start import percentile
from edumeet_recording.sim.faults import takes
from edumeet_recording.sim.faults.deployment import Deployment, Plan, deployed
from edumeet_recording.sim.faults.endurance import endure
from edumeet_recording.sim.faults.invariants import violations
from edumeet_recording.sim.faults.part import stragglers
from edumeet_recording.sim.faults.strikes import OF_A_NODE, possible
from edumeet_recording.sim.faults.trials import Measured, Trial, run, trials
from edumeet_recording.telemetry import configure_logging

RESULT = Path("build/bench/failover.json")
PLAN = Plan(replicas=2, nodes=3, s3=True, small_disks=True)
RECORDINGS, ENDURANCE_RECORDINGS = 20, 30
ENDURANCE = "random_faults"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table; None where nothing was measured, or nothing must hold."""

    name: str
    recordings: int
    lost: int
    gap_p95_s: float | None
    recovered_in_s: float | None
    most_gap_s: float | None
    most_recovery_s: float | None
    failures: tuple[str, ...]

    @property
    def shortfalls(self) -> list[str]:
        """What does not hold."""
        found = [f"{self.name}: {said}" for said in self.failures]
        for what, value, most in (
            ("media is missing for", self.gap_p95_s, self.most_gap_s),
            ("it took", self.recovered_in_s, self.most_recovery_s),
        ):
            if value is not None and most is not None and value > most:
                found.append(f"{self.name}: {what} {value:.1f} s, and {most:g} s is the most")
        return found


async def measure(chosen: tuple[Trial, ...], options: Namespace, console: Console) -> list[Row]:
    """One trial after the other in one service, then the random faults, then the reckoning of what is left behind."""
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    folder = Path(mkdtemp(prefix="failover-", dir=RESULT.parent.absolute()))
    async with deployed(folder, PLAN) as service:
        takes.join(service)
        for trial in chosen:
            console.print(f"{trial.name} …", style="dim")
            if trial.strike in OF_A_NODE and not all(trial.strike in possible(service)[name] for name in service.nodes):
                console.print("not tried: mounting a disk for it is not permitted here", style="dim")
                continue
            rows.append(_row(await run(service, trial, options.recordings)))
        if options.minutes:
            rows.append(await _endurance(service, options, console))
        left = await violations(service)
    left += [f"process {pid} is left: {command}" for pid, command in stragglers(folder).items()]
    if options.keep:
        console.print(f"logs, states and objects are in {folder}", style="dim")
    else:
        shutil.rmtree(folder)
    if left:
        rows.append(Row("left behind", 0, 0, None, None, None, None, tuple(left)))
    return rows


def _row(measured: Measured) -> Row:
    trial = measured.trial
    return Row(
        name=trial.name,
        recordings=measured.recordings,
        lost=measured.lost,
        gap_p95_s=percentile(list(measured.gaps_s), 0.95) if measured.gaps_s else None,
        recovered_in_s=measured.recovered_in_s,
        most_gap_s=trial.most_gap_s,
        most_recovery_s=trial.most_recovery_s,
        failures=measured.failures,
    )


async def _endurance(service: Deployment, options: Namespace, console: Console) -> Row:
    console.print(f"random faults for {options.minutes:g} min, seed {options.seed} …", style="dim")
    endured = await endure(
        service, seed=options.seed, seconds=options.minutes * 60, recordings=options.endurance_recordings
    )
    console.print(f"{endured.strikes} strikes; {endured.refused} requests were refused and asked again", style="dim")
    gap_s = percentile(list(endured.gaps_s), 0.95)
    return Row(ENDURANCE, endured.recordings, endured.lost, gap_s, None, None, None, endured.failures)


def _parsed(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m edumeet_recording.bench.failover", description=__doc__)
    parser.add_argument("--recordings", type=int, default=RECORDINGS, help="recordings a fault")
    parser.add_argument("--outage-s", type=float, default=60, help="how long orchestrators and database stay away")
    parser.add_argument("--storage-outage-s", type=float, default=300, help="how long the storage stays away")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="this fault; may be repeated")
    parser.add_argument("--minutes", type=float, default=2, help="how long random faults strike; 0: not at all")
    parser.add_argument("--endurance-recordings", type=int, default=ENDURANCE_RECORDINGS, help="recordings then")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the random faults")
    parser.add_argument("--keep", action="store_true", help="keep logs, states and objects in build/bench")
    return parser.parse_args(arguments)


def main() -> None:
    """Entry: prints a table, writes the figures, and fails where they are not good enough."""
    options = _parsed(sys.argv[1:])
    configure_logging("error", "console")
    chosen = tuple(
        each
        for each in trials(options.outage_s, options.storage_outage_s)
        if not options.only or each.name in options.only
    )
    console = Console()
    rows = asyncio.run(measure(chosen, options, console))
    table = Table(title=f"Faults while {options.recordings} recordings run")
    table.add_column("fault", no_wrap=True)
    for column in ("recordings", "lost", "gap p95 s", "at most", "recovered s", "at most"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (row.gap_p95_s, row.most_gap_s, row.recovered_in_s, row.most_recovery_s)
        table.add_row(
            row.name, str(row.recordings), str(row.lost), *("" if each is None else f"{each:.1f}" for each in figures)
        )
    console.print(table)
    figures = {
        row.name: {
            "recordings": row.recordings,
            "lost": row.lost,
            "media_gap_p95_s": row.gap_p95_s,
            "recovered_in_s": row.recovered_in_s,
        }
        for row in rows
    }
    RESULT.write_text(json.dumps({**figures, "lost_total": sum(row.lost for row in rows)}, indent=2) + "\n")
    shortfalls = [said for row in rows for said in row.shortfalls]
    sys.exit("\n".join(shortfalls) if shortfalls else 0)


if __name__ == "__main__":
    main()
