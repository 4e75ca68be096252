"""Which node takes a capture: filters that name their refusal, then a strategy's order; pure.

Regions come first, in the order that `domain/regions.py` gives them; within one, nodes without a GPU, and there, by
most strategies, those that have the room already. A node that failed the same job, or keeps failing, is tried last.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from math import log
from types import MappingProxyType
from typing import Literal

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.domain.failure_domain import FailureDomain
from edumeet_recording.domain.fleet import Fleet, NodeSnapshot, Pool, PoolKind
from edumeet_recording.domain.price import Price
from edumeet_recording.domain.regions import DEFAULT_STORAGE

MOST_CANDIDATES = 5
MOST_NAMED = 5
SAMPLE = 32
"""Nodes of a pool among which `weighted` draws."""

StrategyName = Literal["least-loaded", "bin-pack", "round-robin", "weighted"]


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """A capture that wants a node.

    `regions`: those it may be in and what each costs, best first. `apart_from`: where the other captures of a job
    that is recorded twice are; what dies with one of them is refused. `avoid`: nodes that failed this job, taken only
    when nothing else is left.
    `storages`: where its chunks may go; the node must know one. `seed`: any word of its own, for `weighted`.
    """

    price: Price
    regions: tuple[tuple[str, float], ...]
    room_nodes: frozenset[str] = frozenset()
    avoid: frozenset[str] = frozenset()
    exclude_nodes: frozenset[str] = frozenset()
    apart_from: tuple[FailureDomain, ...] = ()
    codecs: frozenset[Codec] = frozenset()
    storages: frozenset[str] = frozenset({DEFAULT_STORAGE})
    seed: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that can take it, and why it is where it is in the order."""

    node_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Nodes to try, best first, and why others were not considered: how many for which reason, and a few by name."""

    strategy: StrategyName
    considered: int
    candidates: tuple[Candidate, ...]
    refused: Mapping[str, int]
    named: tuple[tuple[str, str], ...]

    @property
    def explanation(self) -> str:
        """One sentence on why there is no candidate."""
        if not self.considered:
            return "no FFmpeg node is registered"
        named = "; ".join(f"{node}: {why}" for node, why in self.named)
        more = self.considered - len(self.named)
        counts = ", ".join(f"{count} {why}" for why, count in self.refused.items())
        return f"no FFmpeg node can take it ({named}{f'; and {more} more: {counts}' if more > 0 else ''})"

    def record(self, node_id: str) -> dict[str, object]:
        """The decision for `node_id`, as it is kept with the job and told in its event."""
        chosen = next(candidate for candidate in self.candidates if candidate.node_id == node_id)
        return {
            "nodeId": node_id,
            "strategy": self.strategy,
            "why": chosen.why,
            "considered": self.considered,
            "alternatives": [
                {"nodeId": each.node_id, "why": each.why} for each in self.candidates if each.node_id != node_id
            ],
            "refused": dict(self.refused),
        }


@dataclass(frozen=True, slots=True)
class Strategy:
    """`order` walks a pool, best node first; `keeps_rooms`: nodes that have the room come before that."""

    order: Callable[[Pool, PlacementRequest, str], Iterator[str]]
    keeps_rooms: bool


def least_loaded(pool: Pool, _request: PlacementRequest, _last: str) -> Iterator[str]:
    """The greatest free share first: evenly loaded nodes, each with room for what comes."""
    return (node_id for _, node_id in pool.by_share)


def bin_pack(pool: Pool, request: PlacementRequest, _last: str) -> Iterator[str]:
    """The fullest that still fits first: empty nodes stay empty, and can leave."""
    return (node_id for _, node_id in islice(pool.by_free, pool.too_full(request.price.mcpu), None))


def round_robin(pool: Pool, _request: PlacementRequest, last: str) -> Iterator[str]:
    """By id, from behind the node that was chosen last."""
    begin = bisect_right(pool.by_id, last)
    return chain(islice(pool.by_id, begin, None), islice(pool.by_id, begin))


def weighted(pool: Pool, request: PlacementRequest, last: str) -> Iterator[str]:
    """Drawn by lot, with as many chances as there are free milli-cores (rendezvous hashing), then the emptiest.

    Several replicas that know the same draw differently, and so do not meet at one node.
    """
    count = len(pool.by_id)
    places = range(count) if count <= SAMPLE else {_hash(request.seed, str(at)) % count for at in range(SAMPLE)}
    drawn = {pool.by_id[place] for place in places}
    yield from sorted(drawn, key=lambda node_id: _lot(request.seed, pool.nodes[node_id]))
    yield from (node_id for node_id in least_loaded(pool, request, last) if node_id not in drawn)


def _lot(seed: str, node: NodeSnapshot) -> float:
    """The lower, the better: an exponential deviate whose rate is the weight."""
    return -log((_hash(seed, node.id) + 1) / 2**64) / max(node.free_mcpu, 1e-9)


def _hash(seed: str, text: str) -> int:
    return int.from_bytes(blake2b(f"{seed} {text}".encode(), digest_size=8).digest())


STRATEGIES: Mapping[StrategyName, Strategy] = MappingProxyType(
    {
        "least-loaded": Strategy(least_loaded, keeps_rooms=True),
        "bin-pack": Strategy(bin_pack, keeps_rooms=True),
        "round-robin": Strategy(round_robin, keeps_rooms=False),
        "weighted": Strategy(weighted, keeps_rooms=False),
    }
)


def place(request: PlacementRequest, fleet: Fleet, name: StrategyName = "least-loaded") -> Placement:
    """The best nodes that can take `request`, at most `MOST_CANDIDATES`, and what was wrong with the others."""
    strategy = STRATEGIES[name]
    refused = Counter[str]()
    found: list[Candidate] = []
    failed: list[Candidate] = []
    for (region, cost), kind in _pools_in_order(request):
        if kind is PoolKind.QUARANTINED:
            found, failed = [*found, *failed], []
        pool = fleet.pool(region, kind)
        if pool is None or len(found) >= MOST_CANDIDATES:
            continue
        for node in _tried(pool, request, strategy, fleet.last_promised):
            why_not = _unfit(node, request)
            if why_not is not None:
                refused[why_not] += 1
                continue
            (failed if node.id in request.avoid else found).append(Candidate(node.id, _why(node, request, cost)))
            if len(found) == MOST_CANDIDATES:
                break
    return _placement(name, fleet, request, [*found, *failed][:MOST_CANDIDATES], refused)


def _pools_in_order(request: PlacementRequest) -> Iterator[tuple[tuple[str, float], PoolKind]]:
    for region in request.regions:
        yield region, PoolKind.PLAIN
        yield region, PoolKind.GPU
    for region in request.regions:
        yield region, PoolKind.QUARANTINED


def _tried(pool: Pool, request: PlacementRequest, strategy: Strategy, last: str) -> Iterator[NodeSnapshot]:
    pool = pool.with_room(request.price.mcpu)
    first: Collection[str] = ()
    if strategy.keeps_rooms:
        first = sorted(request.room_nodes & pool.nodes.keys(), key=lambda each: (-pool.nodes[each].free_share, each))
    for node_id in first:
        yield pool.nodes[node_id]
    for node_id in strategy.order(pool, request, last):
        if node_id not in first:
            yield pool.nodes[node_id]


_FILTERS: tuple[tuple[str, Callable[[NodeSnapshot, PlacementRequest], bool]], ...] = (
    ("full", lambda node, request: node.free_mcpu < request.price.mcpu),
    ("network or disk full", lambda node, request: node.free_bytes_per_s < request.price.bytes_per_s),
    ("has it already", lambda node, request: node.id in request.exclude_nodes),
    (
        "would die with the other capture",
        lambda node, request: any(map(node.failure_domain.shared_with, request.apart_from)),
    ),
    ("does not know the codec", lambda node, request: node.codecs is not None and not request.codecs <= node.codecs),
    ("does not know the storage", lambda node, request: request.storages.isdisjoint(node.known_storages)),
)


def _unfit(node: NodeSnapshot, request: PlacementRequest) -> str | None:
    """The kind of reason for which an open node cannot take `request`; None where it can."""
    return next((why for why, refuses in _FILTERS if refuses(node, request)), None)


def _why(node: NodeSnapshot, request: PlacementRequest, cost: float) -> str:
    words = [f"{node.free_share:.0%} free"]
    home = request.regions[0][0]
    words.append(f"region {node.region}" if node.region == home else f"region {node.region} at cost {cost:g}")
    if node.id in request.room_nodes:
        words.append("has the room already")
    if node.pool_kind is PoolKind.GPU:
        words.append("has a GPU that this does not need")
    if node.is_quarantined:
        words.append("keeps failing, but nobody else is left")
    if node.id in request.avoid:
        words.append("failed this recording before, but nobody else is left")
    return ", ".join(words)


def _placement(
    name: StrategyName,
    fleet: Fleet,
    request: PlacementRequest,
    candidates: Iterable[Candidate],
    looked_at: Counter[str],
) -> Placement:
    """What was looked at on the way, and what the indexes tell of the rest."""
    refused = fleet.closed_by() + looked_at
    permitted = {region for region, _ in request.regions}
    full = 0
    for region, pool in fleet.pools():
        if region not in permitted:
            refused["region not allowed"] += len(pool.nodes)
        else:
            full += pool.too_full(request.price.mcpu)
    refused["full"] = full
    chosen = tuple(candidates)
    return Placement(
        strategy=name,
        considered=len(fleet),
        candidates=chosen,
        refused={why: count for why, count in sorted(refused.items()) if count},
        named=() if chosen else tuple(islice(_named(fleet, request, permitted), MOST_NAMED)),
    )


def _named(fleet: Fleet, request: PlacementRequest, permitted: Collection[str]) -> Iterator[tuple[str, str]]:
    """Refused nodes with what is known of each; the full ones first, for they are what more nodes would help."""
    for region, pool in fleet.pools():
        for node in pool.nodes.values() if region in permitted else ():
            if node.free_mcpu < request.price.mcpu:
                yield node.id, f"{node.free_mcpu} of {node.capacity_mcpu} milli-cores free, {request.price.mcpu} needed"
            else:
                yield node.id, _unfit(node, request) or "could take it"
    for node in fleet.closed():
        yield node.id, node.closed_because
    for region, pool in fleet.pools():
        for node in pool.nodes.values() if region not in permitted else ():
            yield node.id, f"region {region} is not allowed"
