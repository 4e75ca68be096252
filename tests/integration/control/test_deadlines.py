"""Which recordings the database names to be looked at: each for which something is due, and few others."""

import itertools
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import NoReturn

import pytest
from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.control.deadlines import DeadlineLoop
from edumeet_recording.control.transitions import limits_of
from edumeet_recording.domain.codecs import Container
from edumeet_recording.domain.deadlines import HEARD_AGAIN_S, Heard, due
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import JobStatus, Reason
from edumeet_recording.domain.request import JobOptions
from edumeet_recording.store import jobs
from edumeet_recording.store.transaction import Transactor, Tx

LIMITS = limits_of(SETTINGS.model_copy(update={"max_duration_s": 3600, "media_ended_timeout_s": 60}))


async def away(*_: object) -> NoReturn:
    raise Unavailable("the database is not available")


STARTED_S_AGO = (1, 20, 4000)
MAX_DURATION_S = (None, 10, 5000)
HEARD_S_AGO = (None, 1, 100)
LOST_S_AGO = (None, 1, 4000)


async def test_what_fell_due_while_the_service_was_away_gets_a_moment_to_be_heard_of(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    await service.pool.execute("UPDATE recording_jobs SET deadline = clock_timestamp() - interval '1 s'")
    loop = DeadlineLoop(service.commands.db, SETTINGS)
    await loop.tick()
    assert (await service.job(job_id)).status is JobStatus.INITIALIZING
    assert loop.vigil.since is not None
    loop.vigil.since -= timedelta(seconds=HEARD_AGAIN_S)
    await loop.tick()
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.STOPPING, Reason.NO_MEDIA)


async def test_a_tick_that_fails_begins_the_moment_anew(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = DeadlineLoop(service.commands.db, SETTINGS)
    await loop.tick()
    with monkeypatch.context() as patched:
        patched.setattr(Transactor, "read", away)
        with pytest.raises(Unavailable):
            await loop.tick()
    assert loop.vigil.since is None


async def test_all_that_is_due_is_read_and_nothing_that_goes_well(service: Service) -> None:
    await service.room_server()
    await service.node(cores=64)
    read = await service.commands.db.run(_many)
    in_time = await service.commands.db.read(lambda tx: jobs.in_time(tx.conn, tx.now, LIMITS))
    now = await service.commands.db.read(_now)
    is_due = set[str]()
    well = set[str]()
    for job_id, heard_s, lost_s in read:
        heard = Heard(
            None if heard_s is None else now - timedelta(seconds=heard_s),
            None if lost_s is None else now - timedelta(seconds=lost_s),
        )
        if due(await service.job(job_id), heard, now, LIMITS):
            is_due.add(job_id)
        elif heard_s == 1 and lost_s is None:
            well.add(job_id)
    found = {job.id for job, _ in in_time}
    assert is_due
    assert well
    assert is_due <= found
    assert not well & found


async def _now(tx: Tx) -> datetime:
    return tx.now


async def _many(tx: Tx) -> list[tuple[str, int | None, int | None]]:
    """Recordings of every kind: id, seconds since the last packet, seconds since their room server was lost."""
    kinds = itertools.product(STARTED_S_AGO, MAX_DURATION_S, HEARD_S_AGO, LOST_S_AGO)
    made: list[tuple[str, int | None, int | None]] = []
    for number, (started_s, longest_s, heard_s, lost_s) in enumerate(kinds):
        job_id = f"job-{number}"
        await tx.conn.execute(
            """INSERT INTO recording_jobs (id, status, epoch, event_seq, room_server_id, room_id, peer_id, region,
                   peer_info, rtp_streams, options, requester_info, forwarding, priority, cost_mcpu, request_sha256,
                   created_at, updated_at, started_at, reason)
               VALUES ($1, 'recording', 1, 0, 'room-server-1', 'r', $1, 'eu', '{}', '[]', $2, '{}', 'room-server', 0, 1,
                   '', $3, $3, $3, $4)""",
            job_id,
            asdict(JobOptions(Container.MP4, max_duration_s=longest_s)),
            tx.now - timedelta(seconds=started_s),
            None if lost_s is None else "room_server_lost",
        )
        await tx.conn.execute(
            """INSERT INTO captures (id, job_id, node_id, role, epoch, state, cost_mcpu, streams, created_at,
                   last_packet_at, unconfirmed_since)
               VALUES ($1, $1, 'node-1', 'primary', 1, 'receiving', 1, '[]', $2, $3, $4)""",
            job_id,
            tx.now,
            None if heard_s is None else tx.now - timedelta(seconds=heard_s),
            None if lost_s is None else tx.now - timedelta(seconds=lost_s),
        )
        made.append((job_id, heard_s, lost_s))
    return made
