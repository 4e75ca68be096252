"""A simulated day as pictures, and a page that shows them."""

import html
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from edumeet_recording.sim.fleet.day import demand, needed
from edumeet_recording.sim.fleet.figures import Figures, percentile
from edumeet_recording.sim.fleet.measure import Sample
from edumeet_recording.sim.fleet.scenario import LEAST_NODES
from edumeet_recording.sim.fleet.simulation import Lived

HOUR_S = 3600
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>A simulated day</title>
<style>
body {{ font: 16px system-ui; max-width: 70rem; margin: 2rem auto }}
td {{ padding-right: 2rem }}
img {{ width: 100% }}
</style>
<h1>A simulated day</h1>
<p>{scenario}</p>
<table>{rows}</table>
{images}
</html>
"""


def draw(lived: Lived, result: Figures, folder: Path) -> Path:
    """Write the pictures and `index.html` to `folder`; the page's path."""
    virtual = sorted(lived.virtual.samples, key=lambda each: each.at_s)
    pictures = {
        "regions.png": ("Demand, capacity and queue of each region, by the policy", _regions(lived, virtual)),
        "live.png": ("The same as it was lived, so much faster", _regions(lived, lived.watch.samples)),
        "times.png": ("How long recordings waited for a node, and for another", _times(lived)),
        "cost.png": ("Nodes paid for, and those an oracle would have had", _cost(lived)),
    }
    for name, (_title, figure) in pictures.items():
        figure.savefig(folder / name, dpi=110)
    page = folder / "index.html"
    page.write_text(
        PAGE.format(
            scenario=html.escape(str(lived.scenario)),
            rows="".join(f"<tr><td>{name}<td>{_number(value)}" for name, value in asdict(result).items()),
            images="".join(
                f'<h2>{title}</h2><img src="{name}" alt="{title}">' for name, (title, _) in pictures.items()
            ),
        )
    )
    return page


def _regions(lived: Lived, samples: Sequence[Sample]) -> Figure:
    places = lived.scenario.places
    figure = Figure(figsize=(11, 2.6 * len(places)), layout="constrained")
    for axes, place in zip(_rows(figure, len(places)), places, strict=True):
        ours = [each for each in samples if each.region == place.name]
        hours = _hours(ours)
        axes.plot(hours, [each.sessions for each in ours], label="recordings that should run")
        axes.plot(hours, [each.nodes_running * lived.sessions_a_node for each in ours], label="capacity")
        axes.fill_between(hours, [each.waiting for each in ours], color="tab:red", label="waiting")
        axes.set(ylabel=place.name, xlim=(0, 24))
        axes.legend(loc="upper left")
    return figure


def _times(lived: Lived) -> Figure:
    figure = Figure(figsize=(11, 3.5), layout="constrained")
    watch = lived.watch
    named = {
        "wait for a node": watch.waits_s(),
        "until the first packet": watch.starts_s(),
        "failover": watch.failovers_s,
    }
    (axes,) = _rows(figure, 1)
    shares = [number / 200 for number in range(1, 201)]
    for name, values in named.items():
        if values:
            axes.plot([percentile(values, share) for share in shares], shares, label=f"{name} ({len(values)})")
    axes.set(xlabel="seconds of the real clock", ylabel="share of recordings", xscale="symlog", ylim=(0, 1.02))
    axes.legend(loc="lower right")
    return figure


def _cost(lived: Lived) -> Figure:
    figure = Figure(figsize=(11, 3.5), layout="constrained")
    (axes,) = _rows(figure, 1)
    by_time: dict[float, int] = {}
    for sample in sorted(lived.virtual.samples, key=lambda each: each.at_s):
        by_time[sample.at_s] = by_time.get(sample.at_s, 0) + sample.nodes_paid
    best = [
        needed(
            demand([each for each in lived.sessions if each.region == place.name]), lived.sessions_a_node, LEAST_NODES
        )
        for place in lived.scenario.places
    ]
    totals = [sum(each) for each in zip(*best, strict=True)]
    axes.step([at / HOUR_S for at in by_time], list(by_time.values()), where="post", label="paid for")
    axes.step([minute / 60 for minute in range(len(totals))], totals, where="post", label="the oracle's")
    axes.set(xlabel="hour of the day", ylabel="nodes", xlim=(0, 24), ylim=(0, None))
    axes.legend(loc="upper left")
    return figure


def _rows(figure: Figure, count: int) -> list[Any]:
    """Axes one below the other."""
    return list(figure.subplots(count, 1, squeeze=False)[:, 0])


def _hours(samples: Sequence[Sample]) -> list[float]:
    return [each.at_s / HOUR_S for each in samples]


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
