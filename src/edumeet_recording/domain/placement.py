"""Which node takes a recording: one price, filters that name their refusal, a score; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.failure_domain import UNNAMED, FailureDomain
from edumeet_recording.domain.request import RequestStream

USABLE_SHARE = 0.8
"""Share of a node's cores that recordings may be promised; the rest is for shipping and the system."""


def price_mcpu(streams: Iterable[RequestStream]) -> int:
    """Cost of a recording in milli-cores (thousandths of one core), twice what capture measured on a slow core."""
    return 2 + sum(4 if stream.kind is Kind.VIDEO else 2 for stream in streams)


def capacity_mcpu(cpu_cores: float) -> int:
    """Milli-cores of a node that recordings may be promised."""
    return int(cpu_cores * 1000 * USABLE_SHARE)


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What placement knows of a node. `rooms`: rooms with a live capture there.

    `is_quarantined`: it keeps failing recordings, and gets one only when nobody else is left.
    """

    id: str
    region: str
    is_healthy: bool
    health_reason: str | None
    is_draining: bool
    accepts_captures: bool
    capacity_mcpu: int
    load_mcpu: int
    rooms: frozenset[tuple[str, str]] = frozenset()
    failure_domain: FailureDomain = UNNAMED
    is_quarantined: bool = False

    @property
    def free_mcpu(self) -> int:
        """Milli-cores not promised yet."""
        return self.capacity_mcpu - self.load_mcpu


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """A capture that wants a node. `avoid`: nodes that failed this job, taken only when nothing else is left.

    `apart_from`: where the other captures of a job that is recorded twice are; what dies with one of them is refused.
    """

    cost_mcpu: int
    region: str
    room: tuple[str, str]
    avoid: frozenset[str] = frozenset()
    apart_from: tuple[FailureDomain, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Nodes to try, best first, and why each of the others was not considered."""

    candidates: tuple[str, ...]
    refusals: tuple[tuple[str, str], ...]

    @property
    def explanation(self) -> str:
        """One sentence on why there is no candidate; at most five nodes are named."""
        if not self.refusals:
            return "no FFmpeg node is registered"
        named = "; ".join(f"{node}: {why}" for node, why in self.refusals[:5])
        more = len(self.refusals) - 5
        return f"no FFmpeg node can take it ({named}{f'; and {more} more' if more > 0 else ''})"


def _refusal(node: NodeSnapshot, request: PlacementRequest) -> str | None:
    if not node.is_healthy:
        return node.health_reason or "unhealthy"
    if node.is_draining:
        return "draining"
    if not node.accepts_captures:
        return "accepts no new captures"
    if node.free_mcpu < request.cost_mcpu:
        return f"{node.free_mcpu} of {node.capacity_mcpu} milli-cores free, {request.cost_mcpu} needed"
    shared = next(filter(None, map(node.failure_domain.shared_with, request.apart_from)), None)
    return None if shared is None else f"shares {shared} with the other capture"


def place(request: PlacementRequest, nodes: Sequence[NodeSnapshot]) -> Placement:
    """Order the nodes that can take `request`: fresh ones, its region, its room, the greatest free share."""
    refusals: list[tuple[str, str]] = []
    fitting: list[NodeSnapshot] = []
    for node in nodes:
        why = _refusal(node, request)
        if why is None:
            fitting.append(node)
        else:
            refusals.append((node.id, why))
    fitting.sort(
        key=lambda node: (
            node.is_quarantined,
            node.id in request.avoid,
            node.region != request.region,
            request.room not in node.rooms,
            -node.free_mcpu / max(node.capacity_mcpu, 1),
            node.id,
        )
    )
    return Placement(tuple(node.id for node in fitting), tuple(refusals))
