"""Where a recording may be, and where it is best: allowed regions as a hard rule, spilling by a configured cost; pure.

A pattern is the name of a region, or its beginning with `*` behind it (`eu-*`).
"""

from collections.abc import Collection, Iterable, Mapping
from math import inf

DEFAULT_STORAGE = ""
"""Name of the storage that `STORAGE_URL` is; every other one is named by its region."""

Spill = Mapping[str, Mapping[str, float]]
"""Of a room server's region: which other regions may take over, and what that costs; the cheapest is tried first."""


def fits(region: str, pattern: str) -> bool:
    """True where `pattern` means `region`."""
    return region.startswith(pattern[:-1]) if pattern.endswith("*") else region == pattern


def is_allowed(region: str, allowed: Collection[str] | None) -> bool:
    """True where one of the patterns means `region`; None allows every region, an empty collection none."""
    return allowed is None or any(fits(region, pattern) for pattern in allowed)


def both(one: Collection[str] | None, other: Collection[str] | None) -> tuple[str, ...] | None:
    """What both of two rules allow, as patterns; None allows every region."""
    if one is None or other is None:
        rule = other if one is None else one
        return None if rule is None else tuple(sorted(rule))
    common = {_narrower(a, b) for a in one for b in other}
    return tuple(sorted(pattern for pattern in common if pattern is not None))


def _narrower(one: str, other: str) -> str | None:
    """The pattern for the regions that both mean, which is one of the two, or None where there is none."""
    if other.endswith("*") and one.startswith(other[:-1]):
        return one
    if one.endswith("*") and other.startswith(one[:-1]):
        return other
    return one if one == other else None


def ranked(home: str, known: Iterable[str], allowed: Collection[str] | None, spill: Spill) -> list[tuple[str, float]]:
    """The regions that may be used and what each costs, best first: home, then by cost, then by name.

    A region that has an entry in `spill` spills to those it lists; one that has none spills anywhere, at the same cost.
    """
    costs = spill.get(home)
    usable = [
        (region, 0.0 if region == home else 1.0 if costs is None else costs[region])
        for region in {home, *known}
        if is_allowed(region, allowed) and (region == home or costs is None or region in costs)
    ]
    return sorted(usable, key=lambda each: (each[0] != home, each[1], each[0]))


def allowed_storages(places: Mapping[str, str], allowed: Collection[str] | None) -> list[str]:
    """The names of the storages that may be used; `places`: the region of each, empty where nobody has said it."""
    return [name for name, region in places.items() if allowed is None or (region and is_allowed(region, allowed))]


def nearest_storage(
    region: str, places: Mapping[str, str], allowed: Collection[str] | None, spill: Spill, known: Collection[str]
) -> str | None:
    """Where a node in `region` puts what it has: there, else into the default storage, else where it costs least.

    `known`: the storages that the node knows. None where it knows none that is allowed.
    """
    usable = [name for name in allowed_storages(places, allowed) if name in known]
    costs = spill.get(region, {})
    return min(
        usable,
        key=lambda name: (places[name] != region, name != DEFAULT_STORAGE, costs.get(places[name], inf), name),
        default=None,
    )


def located(storage: str, key: str) -> str:
    """A key that names its storage, `@eu-1/tapes/…`; in the default storage the key alone."""
    return f"@{storage}/{key}" if storage else key


def split_location(location: str) -> tuple[str, str]:
    """The storage's name and the key in it."""
    if not location.startswith("@"):
        return DEFAULT_STORAGE, location
    storage, _, key = location[1:].partition("/")
    return storage, key
