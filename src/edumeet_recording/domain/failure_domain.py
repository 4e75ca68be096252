"""What dies together: hosts, racks and zones, so that two captures of one recording never share one; pure."""

import re
from dataclasses import dataclass

LEVELS = ("zone", "rack", "host")
"""Widest first."""
NAME = r"[A-Za-z0-9_][A-Za-z0-9._:@-]{0,127}"
_LEVEL_AND_NAME = re.compile(rf"(?:({'|'.join(LEVELS)})=)?({NAME})")


@dataclass(frozen=True, slots=True)
class FailureDomain:
    """Where a node stands; None is what nobody has named."""

    zone: str | None = None
    rack: str | None = None
    host: str | None = None

    def shared_with(self, other: "FailureDomain") -> str | None:
        """What both die with, such as `zone eu-1a`, compared at the widest level that both name; None: nothing known.

        Hosts are told apart only where no rack is named, racks only where no zone is: who names zones means them.
        """
        for level in LEVELS:
            ours, theirs = getattr(self, level), getattr(other, level)
            if ours is not None and theirs is not None:
                return f"{level} {ours}" if ours == theirs else None
        return None

    def __str__(self) -> str:
        """As `parse_failure_domain` reads it, `zone=eu-1a,host=h1`."""
        named = [(level, getattr(self, level)) for level in LEVELS]
        return ",".join(f"{level}={name}" for level, name in named if name is not None)


UNNAMED = FailureDomain()


def parse_failure_domain(text: str) -> FailureDomain:
    """The domain that `zone=…,rack=…,host=…` names, in any order, each optional; a name alone is a host's.

    Raises `ValueError` where it names nothing, or one level twice.
    """
    named: dict[str, str] = {}
    for part in text.split(","):
        match = _LEVEL_AND_NAME.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} is not like zone=eu-1a, rack=r7, host=h1, or a host's name alone")
        level = match[1] or "host"
        if level in named:
            raise ValueError(f"the {level} is named twice")
        named[level] = match[2]
    return FailureDomain(**named)
