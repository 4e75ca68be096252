"""The nodes as placement sees them, indexed so that a decision looks at few of them; pure, and free to be stale.

A node is in one pool of its region, or closed. Its orders are kept as it changes: a change costs a search and a move in
a list of thousands, some microseconds.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.domain.failure_domain import UNNAMED, FailureDomain
from edumeet_recording.domain.price import Price
from edumeet_recording.domain.regions import DEFAULT_STORAGE

UNLIMITED = 2**62
"""Bytes a second of a node that has told no limit."""
FEW = 64
"""Where no more nodes have room, they are looked at without the others."""

_DEFAULT_ONLY = frozenset({DEFAULT_STORAGE})


class PoolKind(IntEnum):
    """In the order in which they are used."""

    PLAIN = 0
    GPU = 1
    """Kept for those who encode: captures get it where nothing else is left in the region."""
    QUARANTINED = 2
    """Nodes that keep failing: the last resort of all regions."""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What placement knows of a node. `codecs` and `storages` None: an older release, which takes the default ones."""

    id: str
    region: str
    is_healthy: bool
    health_reason: str | None
    is_draining: bool
    accepts_captures: bool
    capacity_mcpu: int
    load_mcpu: int
    capacity_bytes_per_s: int = UNLIMITED
    load_bytes_per_s: int = 0
    failure_domain: FailureDomain = UNNAMED
    has_gpu: bool = False
    is_quarantined: bool = False
    refusal: str | None = None
    codecs: frozenset[Codec] | None = None
    storages: frozenset[str] | None = None

    @property
    def free_mcpu(self) -> int:
        """Milli-cores not promised yet."""
        return self.capacity_mcpu - self.load_mcpu

    @property
    def free_bytes_per_s(self) -> int:
        """Bytes a second of network and disk not promised yet."""
        return self.capacity_bytes_per_s - self.load_bytes_per_s

    @property
    def free_share(self) -> float:
        """From 0 to 1, of what is scarcer."""
        share = self.free_mcpu / max(self.capacity_mcpu, 1)
        return min(share, self.free_bytes_per_s / max(self.capacity_bytes_per_s, 1))

    @property
    def closed_by(self) -> str | None:
        """Why it takes no capture at all, as a kind of reason; None where it does."""
        if not self.is_healthy:
            return "unhealthy"
        if self.is_draining:
            return "draining"
        return None if self.accepts_captures else "takes no new captures"

    @property
    def closed_because(self) -> str:
        """The same with what is known of it."""
        if not self.is_healthy:
            return self.health_reason or "unhealthy"
        return self.refusal or self.closed_by or "open"

    @property
    def known_storages(self) -> frozenset[str]:
        """The names of the storages that it can write to."""
        return _DEFAULT_ONLY if self.storages is None else self.storages

    @property
    def pool_kind(self) -> PoolKind:
        """Which pool of its region it is in."""
        return PoolKind.QUARANTINED if self.is_quarantined else PoolKind.GPU if self.has_gpu else PoolKind.PLAIN


@dataclass(slots=True)
class Pool:
    """The open nodes of one region and kind, in the orders that strategies walk."""

    nodes: dict[str, NodeSnapshot] = field(default_factory=dict[str, NodeSnapshot])
    by_id: list[str] = field(default_factory=list[str])
    by_share: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    """The emptiest first; shares are negative."""
    by_free: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """The fullest first, by milli-cores."""

    def add(self, node: NodeSnapshot) -> None:
        """Take up a node that is not here."""
        self.nodes[node.id] = node
        insort(self.by_id, node.id)
        insort(self.by_share, (-node.free_share, node.id))
        insort(self.by_free, (node.free_mcpu, node.id))

    def remove(self, node: NodeSnapshot) -> None:
        """Let go of a node, given as it was added."""
        del self.nodes[node.id]
        del self.by_id[bisect_left(self.by_id, node.id)]
        del self.by_share[bisect_left(self.by_share, (-node.free_share, node.id))]
        del self.by_free[bisect_left(self.by_free, (node.free_mcpu, node.id))]

    def too_full(self, cost_mcpu: int) -> int:
        """How many nodes have less than `cost_mcpu` free."""
        return bisect_left(self.by_free, (cost_mcpu, ""))

    def with_room(self, cost_mcpu: int) -> "Pool":
        """A pool in which nodes with `cost_mcpu` free are found soon: this one, or that of the few which have it."""
        full = self.too_full(cost_mcpu)
        if full == 0 or len(self.by_free) - full > FEW:
            return self
        few = Pool()
        for _, node_id in self.by_free[full:]:
            few.add(self.nodes[node_id])
        return few


class Fleet:
    """All nodes. `last_promised`: whom the last capture was given to, where the next round goes on."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeSnapshot] = {}
        self._pools: dict[tuple[str, PoolKind], Pool] = {}
        self._closed: dict[str, dict[str, NodeSnapshot]] = {}
        self._closed_by: dict[str, Counter[str]] = {}
        self.last_promised = ""

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def nodes(self) -> Mapping[str, NodeSnapshot]:
        """Every node by id."""
        return self._nodes

    @property
    def regions(self) -> set[str]:
        """Regions with an open node."""
        return {region for region, _ in self._pools}

    def pool(self, region: str, kind: PoolKind) -> Pool | None:
        """The open nodes of a region and kind, where there are any."""
        return self._pools.get((region, kind))

    def pools(self) -> Iterator[tuple[str, Pool]]:
        """Every pool with its region."""
        for (region, _), pool in self._pools.items():
            yield region, pool

    def closed_by(self) -> Counter[str]:
        """How many nodes take no captures, by the kind of reason."""
        return sum(self._closed_by.values(), Counter[str]())

    def closed(self) -> Iterator[NodeSnapshot]:
        """The nodes that take no captures."""
        for nodes in self._closed.values():
            yield from nodes.values()

    def put(self, node: NodeSnapshot) -> None:
        """Know `node` as it is now."""
        if self._nodes.get(node.id) == node:
            return
        self.remove(node.id)
        self._nodes[node.id] = node
        if node.closed_by is None:
            self._pools.setdefault((node.region, node.pool_kind), Pool()).add(node)
        else:
            self._closed.setdefault(node.region, {})[node.id] = node
            self._closed_by.setdefault(node.region, Counter())[node.closed_by] += 1

    def remove(self, node_id: str) -> None:
        """Forget a node, if it is known."""
        node = self._nodes.pop(node_id, None)
        if node is None:
            return
        if node.closed_by is not None:
            del self._closed[node.region][node_id]
            self._closed_by[node.region][node.closed_by] -= 1
            return
        pool = self._pools[node.region, node.pool_kind]
        pool.remove(node)
        if not pool.nodes:
            del self._pools[node.region, node.pool_kind]

    def promise(self, node_id: str, price: Price) -> None:
        """Count a promise before the database says so: the next decision should see it."""
        node = self._nodes.get(node_id)
        if node is not None:
            load = node.load_mcpu + price.mcpu
            self.put(replace(node, load_mcpu=load, load_bytes_per_s=node.load_bytes_per_s + price.bytes_per_s))
            self.last_promised = node_id
