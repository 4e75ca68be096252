"""Accepts recordings: those that come together are stored together, by a transaction that waits for nobody.

What is not straightforward (somebody else starts the same peer, a tenant has a quota, the node is full or locked,
something is wrong with it) is left out, and then decided alone, by a transaction of its own that waits its turn.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.admission import check_queue, check_quota
from edumeet_recording.control.dispatch import new_capture, placement_request
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.redundancy import place_standby
from edumeet_recording.control.together import Together
from edumeet_recording.control.transitions import limits_of
from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.deadlines import deadline_after
from edumeet_recording.domain.errors import Conflict, InvalidRequest, OrchestratorError, Unavailable
from edumeet_recording.domain.fleet import NodeSnapshot
from edumeet_recording.domain.job import Job, JobStatus, Reason, accepted
from edumeet_recording.domain.placement import Placement
from edumeet_recording.domain.price import price
from edumeet_recording.domain.queueing import Quota
from edumeet_recording.domain.regions import allowed_storages, both
from edumeet_recording.domain.request import NewJob, StartOutcome
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store import jobs, nodes
from edumeet_recording.store.jobs import Circumstances, Start
from edumeet_recording.store.transaction import Channel, Transactor, Tx

log = structlog.get_logger()

MOST_TOGETHER = 32


class Starts:
    """Starts recordings on the nodes of `fleet`."""

    def __init__(self, db: Transactor, settings: OrchestratorSettings, fleet: LiveFleet) -> None:
        self._db = db
        self._settings = settings
        self.fleet = fleet
        self._together = Together(self._start_together, MOST_TOGETHER)

    async def start(self, new: NewJob) -> StartOutcome:
        """Accept a recording and place it at once where a node is free; else it waits in the queue."""
        outcome = await self._together(new) or await self._start_alone(new)
        if outcome.created and new.options.redundancy > 1:
            # apart: a transaction that claims two nodes could wait in a circle with another
            await self._db.run(lambda tx: place_standby(tx, self._settings, self.fleet, outcome.job_id))
        return outcome

    async def _start_together(self, news: Sequence[NewJob]) -> list[StartOutcome | None]:
        """Store what is straightforward; None for the others, of whom nothing is stored."""
        try:
            stored = await self._db.run(lambda tx: self._store_straightforward(tx, news))
        except Unavailable:
            raise
        except Exception:
            log.warning("starts_apart", starts=len(news), exc_info=True)
            return [None for _ in news]
        return [
            StartOutcome(stored[position], created=True) if position in stored else None
            for position in range(len(news))
        ]

    async def _store_straightforward(self, tx: Tx, news: Sequence[NewJob]) -> dict[int, str]:
        """The ids of the jobs that were stored, each with a capture, by their positions in `news`."""
        free = await jobs.lock_peers(tx.conn, [jobs.peer_lock(new) for new in news])
        found = await jobs.circumstances(tx.conn, news)
        chosen: list[tuple[int, str, Start]] = []
        joined = defaultdict[tuple[str, str], set[str]](set)
        for position in _unrelated(news):
            new, now = news[position], found[position]
            if jobs.peer_lock(new) not in free or now.earlier is not None or _has_quota(now.tenant):
                continue
            nodes_here = joined[new.room_server_id, new.room_id]
            with suppress(OrchestratorError):  # alone it meets that again, and is told
                node, start = await self._choose(tx, new, replace(now, room_nodes=now.room_nodes | nodes_here))
                if node is not None:
                    nodes_here.add(node)
                    chosen.append((position, node, start))
        claimed = await nodes.claim_at_once(tx.conn, [(node, start.job.price) for _, node, start in chosen])
        stored = {position: start for position, node, start in chosen if node in claimed}
        await self._store(tx, stored.values())
        return {position: start.job.id for position, start in stored.items()}

    async def _start_alone(self, new: NewJob) -> StartOutcome:
        """Store it with a capture, or to wait with the reason why; else find the one that it repeats, or refuse it."""

        async def work(tx: Tx) -> StartOutcome:
            (now,) = await jobs.circumstances(tx.conn, [new])
            if now.earlier is not None:
                return _repeated(new, *now.earlier)
            job = self._accepted(tx, new, now)
            await check_quota(tx, now.tenant)
            request = placement_request(self._settings, self.fleet, job, now.room_nodes)
            node, placement = await self.fleet.claim(tx, request)
            if node is not None:
                await self._store(tx, [self._begun(tx, new, job, node, placement)])
                return StartOutcome(job.id, created=True)
            await self._store(tx, [Start(new, job, None)])
            await jobs.explain_wait(tx.conn, job.id, Reason.NO_CAPACITY, placement.explanation)
            await check_queue(tx, self._settings, now.tenant)
            return StartOutcome(job.id, created=True)

        return await self._db.run(work, alone=jobs.peer_lock(new))

    async def _choose(self, tx: Tx, new: NewJob, now: Circumstances) -> tuple[str | None, Start]:
        """The best node for it as far as is known, which is still to be claimed, and what is to be stored then."""
        job = self._accepted(tx, new, now)
        request = placement_request(self._settings, self.fleet, job, now.room_nodes)
        node, placement = await self.fleet.choose(tx, request)
        if node is None:
            return None, Start(new, job, None)
        return node.id, self._begun(tx, new, job, node, placement)

    async def _store(self, tx: Tx, starts: Collection[Start]) -> None:
        if not starts:
            return
        await jobs.insert(tx.conn, starts)
        tx.hint(Channel.EVENTS)
        for start in starts:
            if start.capture is not None:
                tx.hint(Channel.NODE, start.capture.node_id)

    def _accepted(self, tx: Tx, new: NewJob, now: Circumstances) -> Job:
        if now.region is None:
            message = f"room server {new.room_server_id} is not registered"
            raise InvalidRequest(message, code="unknown_room_server", field="roomServerId")
        if now.running is not None and not new.allow_parallel:
            message = f"peer {new.peer_id} is already recorded by job {now.running}; allowParallel permits another"
            raise Conflict(message, code="already_recording", field="peerId")
        wanted = {Kind.AUDIO: new.options.include_audio, Kind.VIDEO: new.options.include_video}
        encrypted = new.forwarding == "room-server" and self._settings.room_server_srtp != "none"
        return accepted(
            new,
            job_id=uuid4().hex,
            region=now.region,
            price=price((stream for stream in new.rtp_streams if wanted[stream.kind]), encrypted=encrypted),
            allowed_regions=self._allowed_regions(new, now.tenant),
            deadline=deadline_after(JobStatus.PENDING, tx.now, limits_of(self._settings)),
            now=tx.now,
        )

    def _allowed_regions(self, new: NewJob, tenant: Tenant | None) -> tuple[str, ...] | None:
        allowed = both(new.allowed_regions, tenant.allowed_regions if tenant else None)
        if allowed is not None and not allowed_storages(self._settings.storage_regions, allowed):
            where = ", ".join(allowed) or "any that the tenant may use"
            raise InvalidRequest(f"there is no storage in {where}", code="region_not_allowed", field="allowedRegions")
        return allowed

    def _begun(self, tx: Tx, new: NewJob, job: Job, node: NodeSnapshot, placement: Placement) -> Start:
        deadline = deadline_after(JobStatus.INITIALIZING, tx.now, limits_of(self._settings))
        capture = new_capture(self._settings, job, CaptureRole.PRIMARY, node, placement)
        return Start(new, replace(job, deadline=deadline), capture)


def _unrelated(news: Sequence[NewJob]) -> Iterator[int]:
    """Positions of those of `news` none of which can be in another's way: of a peer or an idempotency key the first."""
    seen: set[object] = set()
    for position, new in enumerate(news):
        marks = {jobs.peer_lock(new), position if new.idempotency_key is None else (new.tenant_id, new.idempotency_key)}
        if seen.isdisjoint(marks):
            yield position
        seen |= marks


def _has_quota(tenant: Tenant | None) -> bool:
    return tenant is not None and tenant.quota != Quota()


def _repeated(new: NewJob, job_id: str, request_sha256: bytes) -> StartOutcome:
    if request_sha256 != new.request_sha256:
        message = "this Idempotency-Key was used with another body"
        raise Conflict(message, code="idempotency_key_reused", field="Idempotency-Key")
    return StartOutcome(job_id, created=False)
