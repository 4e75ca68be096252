"""The enums of the database are those of the domain."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from edumeet_recording.domain.capture import CaptureRole, CaptureState
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.scaling import RequestState

CREATED = re.compile(r"CREATE TYPE (\w+) AS ENUM \(([^)]*)\)")
ADDED = re.compile(r"ALTER TYPE (\w+) ADD VALUE '(\w+)'")


@pytest.mark.parametrize(
    ("name", "enum"),
    [
        ("job_status", JobStatus),
        ("capture_state", CaptureState),
        ("capture_role", CaptureRole),
        ("fleet_request_state", RequestState),
    ],
)
def test_the_migrations_lead_to_the_enum_of_the_domain(package: Path, name: str, enum: type[StrEnum]) -> None:
    text = "\n".join(path.read_text() for path in sorted((package / "store/migrations/versions").glob("*.sql")))
    created = {type_: re.findall(r"'(\w+)'", values) for type_, values in CREATED.findall(text)}
    added = [value for type_, value in ADDED.findall(text) if type_ == name]
    assert created[name] + added == [member.value for member in enum]
