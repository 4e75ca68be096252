"""What a node can take: what captures really cost there corrects the price, and too much has a threshold; pure."""

from dataclasses import dataclass

from edumeet_recording.domain.price import capacity_mcpu

CHEAPEST, DEAREST = 0.25, 4.0
"""Bounds of what a capture may cost, as a multiple of its price."""
LEARN_S = 300.0
"""How long it takes to believe most of a change."""
ENOUGH_SHARE = 0.1
"""Fewer captures than this share of the capacity tell little: what the node does without any would count as theirs."""
USABLE_BYTES_SHARE = 0.8
"""Of what disk and network do at most."""
HOT_PERCENT, COOL_PERCENT = 90.0, 75.0
REFUSE_AFTER_S, SHED_AFTER_S = 3.0, 15.0


def learned(factor: float, *, used_mcpu: float, promised_mcpu: int, cores: float, seconds: float) -> float:
    """What captures cost on a machine of `cores`, as a multiple of their price: a little nearer to what was seen.

    `used_mcpu`: what the node's processes took of the processor within the last `seconds`. One look counts as at most
    half or double what is believed, so that a moment in which something hung changes next to nothing.
    """
    if promised_mcpu <= 0 or promised_mcpu < ENOUGH_SHARE * capacity_mcpu(cores):
        return factor
    seen = min(max(used_mcpu / promised_mcpu, factor / 2), factor * 2)
    nearer = factor + (seen - factor) * min(seconds / LEARN_S, 1.0)
    return min(max(nearer, CHEAPEST), DEAREST)


def corrected_mcpu(cores: float, factor: float) -> int:
    """Milli-cores, by price, that captures may be promised on a machine where they cost `factor` times that."""
    return int(capacity_mcpu(cores) / factor)


def usable_bytes_per_s(*measured: float | None) -> int | None:
    """Bytes a second that captures may be promised, of the scarcest that was measured; None where nothing was."""
    known = [each for each in measured if each is not None]
    return int(min(known) * USABLE_BYTES_SHARE) if known else None


@dataclass(frozen=True, slots=True)
class Strain:
    """Whether a machine has too much to do. `hot_since`: when its cores became too busy; clock as of `strained`."""

    hot_since: float | None = None
    refuses: bool = False
    sheds: bool = False


def strained(before: Strain, wanted_percent: float, now: float) -> Strain:
    """The strain at `now`: hot cores first refuse new captures, then give some away, until they are cool again.

    `wanted_percent`: what capturing takes of all cores, and would take if it had not to wait for them. What else runs
    there counts only as far as capturing waits for it: finalizations fill the cores, but yield.
    """
    if wanted_percent < COOL_PERCENT:
        return Strain()
    if wanted_percent < HOT_PERCENT:
        return Strain(None, before.refuses, sheds=False)
    since = now if before.hot_since is None else before.hot_since
    hot_s = now - since
    return Strain(since, before.refuses or hot_s >= REFUSE_AFTER_S, hot_s >= SHED_AFTER_S)
