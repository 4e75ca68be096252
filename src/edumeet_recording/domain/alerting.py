"""What operators are told of: conditions that need somebody, each with its evidence; pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum, unique

from edumeet_recording.domain.scaling import Evaluation

WAITS_TOO_LONG = timedelta(seconds=15)
SILENT_TOO_LONG = timedelta(seconds=10)
"""Shorter silences are suspicions, which pass."""
FULL_PERCENT = 80.0
EVERYWHERE = "*"
"""The region of what concerns the whole service."""


@unique
class Rule(StrEnum):
    """Why there is an alert; `docs/operate.md` says what to do."""

    NO_CAPACITY = "no_capacity"
    REGION_LOST = "region_lost"
    NODE_LOST = "node_lost"
    NODE_QUARANTINED = "node_quarantined"
    ROOM_SERVER_LOST = "room_server_lost"
    DISK_FULL = "disk_full"
    STORAGE_UNREACHABLE = "storage_unreachable"
    SCALING_AT_MAX = "scaling_at_max"
    NODE_NEVER_CAME = "node_never_came"
    PROVIDER_UNREACHABLE = "provider_unreachable"


@unique
class Severity(StrEnum):
    """`critical`: recordings are harmed, or will be soon."""

    WARNING = "warning"
    CRITICAL = "critical"


CRITICAL = frozenset({Rule.NO_CAPACITY, Rule.REGION_LOST, Rule.STORAGE_UNREACHABLE})


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now; at most one alert is open for a rule and subject."""

    rule: Rule
    subject: str
    region: str
    detail: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class MachineState:
    """A registered FFmpeg node or room server. `heard_at` None: it never sent a heartbeat."""

    id: str
    region: str
    is_healthy: bool
    heard_at: datetime | None
    health_reason: str | None = None
    quarantine: str | None = None
    refusal: str | None = None
    disk_used_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Recordings of a region that wait for capacity."""

    region: str
    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Missing:
    """Nodes that a region asked for lately, and that never came."""

    region: str
    count: int


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the rules look at. `storage`, `provider`: why it cannot be reached, empty where it can.

    `registered`: how many FFmpeg nodes each region has; `nodes`: those of them with anything that may be wrong.
    """

    waiting: Sequence[Waiting] = ()
    registered: Mapping[str, int] = field(default_factory=dict[str, int])
    nodes: Sequence[MachineState] = ()
    room_servers: Sequence[MachineState] = ()
    missing: Sequence[Missing] = ()
    evaluations: Sequence[Evaluation] = ()
    storage: str = ""
    provider: str = ""


def conditions(situation: Situation, now: datetime) -> list[Condition]:
    """What is wrong at `now`."""
    lost = _lost_regions(situation, now)
    found = [
        *_waiting(situation.waiting, now),
        *_regions(situation.registered, lost),
        *(each for node in situation.nodes for each in _node(node, lost, now)),
        *_room_servers(situation.room_servers, now),
        *_scaling(situation),
    ]
    if situation.storage:
        found.append(_of(Rule.STORAGE_UNREACHABLE, "storage", EVERYWHERE, situation.storage))
    if situation.provider:
        found.append(_of(Rule.PROVIDER_UNREACHABLE, "provider", EVERYWHERE, situation.provider))
    return found


def _lost_regions(situation: Situation, now: datetime) -> frozenset[str]:
    """Regions whose FFmpeg nodes are all silent."""
    silent = Counter(node.region for node in situation.nodes if _is_lost(node, now))
    return frozenset(region for region, count in silent.items() if count == situation.registered.get(region))


def _waiting(waiting: Iterable[Waiting], now: datetime) -> Iterator[Condition]:
    for each in waiting:
        if now - each.since >= WAITS_TOO_LONG:
            waits_s = (now - each.since).total_seconds()
            detail = f"{each.count} recordings wait for a node in {each.region}, the first for {waits_s:.0f} s"
            yield _of(Rule.NO_CAPACITY, each.region, each.region, detail)


def _regions(registered: Mapping[str, int], lost: Iterable[str]) -> Iterator[Condition]:
    for region in sorted(lost):
        detail = f"none of the {registered[region]} FFmpeg nodes in {region} is alive"
        yield _of(Rule.REGION_LOST, region, region, detail)


def _node(node: MachineState, lost: frozenset[str], now: datetime) -> Iterator[Condition]:
    """A region that is lost is one alert, not one for each of its nodes."""
    if node.region not in lost and _is_lost(node, now):
        yield _of(Rule.NODE_LOST, node.id, node.region, f"FFmpeg node {node.id}: {node.health_reason or 'silent'}")
    if node.quarantine:
        yield _of(Rule.NODE_QUARANTINED, node.id, node.region, f"FFmpeg node {node.id} is put aside: {node.quarantine}")
    if node.is_healthy and node.refusal:
        detail = f"FFmpeg node {node.id} takes no recordings: {node.refusal}"
        yield Condition(Rule.DISK_FULL, node.id, node.region, detail, Severity.CRITICAL)
    elif node.is_healthy and node.disk_used_percent >= FULL_PERCENT:
        detail = f"the disk of FFmpeg node {node.id} is {node.disk_used_percent:.0f} % full"
        yield _of(Rule.DISK_FULL, node.id, node.region, detail)


def _room_servers(servers: Iterable[MachineState], now: datetime) -> Iterator[Condition]:
    for each in servers:
        if _is_lost(each, now):
            detail = f"room server {each.id}: {each.health_reason or 'silent'}"
            yield _of(Rule.ROOM_SERVER_LOST, each.id, each.region, detail)


def _scaling(situation: Situation) -> Iterator[Condition]:
    for each in situation.evaluations:
        if each.is_at_max:
            detail = f"{each.region} needs {each.needed_mcpu} milli-cores, which is more than its policy permits"
            yield _of(Rule.SCALING_AT_MAX, each.region, each.region, detail)
    for missing in situation.missing:
        detail = f"{missing.count} nodes that were asked for in {missing.region} lately never came"
        yield _of(Rule.NODE_NEVER_CAME, missing.region, missing.region, detail)


def _is_lost(machine: MachineState, now: datetime) -> bool:
    """One that never connected is not lost: it is on its way, or was never more than a registration."""
    return not machine.is_healthy and machine.heard_at is not None and now - machine.heard_at >= SILENT_TOO_LONG


def _of(rule: Rule, subject: str, region: str, detail: str) -> Condition:
    return Condition(rule, subject, region, detail, Severity.CRITICAL if rule in CRITICAL else Severity.WARNING)
