"""Statements that were once sent to PostgreSQL, repeated by pgbench as fast as it can, with other ids each time."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edumeet_recording.bench.replica import STILL_NODE, STILL_NODES
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store.embedded import program

_PLACE = re.compile(r"\$(\d+)")
_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
_CHANGING = re.compile(rf"(?<![0-9a-fx])(?P<r>[0-9a-f]{{32}})(?![0-9a-f])|(?P<n>{STILL_NODE})\d+")
"""An id, and a node: `:r` and `:n` of the script, behind what stays."""
_RANDOM = f"\\set r random(1, 1000000000000)\n\\set n random(0, {STILL_NODES - 1})\n"


@dataclass(frozen=True, slots=True)
class Statement:
    """What was sent: its text with `$1`, its values, and the names of their types as PostgreSQL sees them."""

    text: str
    values: tuple[object, ...]
    types: tuple[str, ...] = ()

    def as_script(self) -> str:
        """One line of pgbench: ids that were made for this one time are made anew each time."""
        literals = [f"{_literal(value, kind)}::{kind}" for value, kind in zip(self.values, self.types, strict=True)]
        text = _PLACE.sub(lambda found: literals[int(found[1]) - 1], self.text)
        return " ".join(text.split()).rstrip(";") + ";\n"


def script_of(statements: Sequence[Statement]) -> str:
    """A script that does them once."""
    return _RANDOM + "".join(each.as_script() for each in statements)


async def transactions_a_second(dsn: str, script: str, folder: Path, clients: int, seconds: float) -> float:
    """How often a script is done in a second. Raises `Unavailable` with pgbench's words where it cannot be."""
    path = folder / "start.pgbench"
    path.write_text(script)
    arguments = ["-n", "-M", "prepared", "-c", str(clients), "-T", str(round(seconds)), "-f", str(path), dsn]
    process = await asyncio.create_subprocess_exec(
        str(program("pgbench")), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    answer, words = await process.communicate()
    found = _TPS.search(answer.decode())
    if process.returncode != 0 or found is None:
        raise Unavailable(f"pgbench failed: {words.decode()[-500:]}")
    return float(found[1])


def _literal(value: object, kind: str) -> str:
    if value is None:
        return "NULL"
    if kind in ("json", "jsonb"):
        return _text(json.dumps(value))
    match value:
        case bytes():
            return f"'\\x{value.hex()}'"
        case list() | tuple():
            return f"ARRAY[{', '.join(_literal(each, '') for each in cast('Sequence[object]', value))}]"
        case _:
            return _text(str(value))


def _text(value: str) -> str:
    """Other ids each time, and any of the nodes."""
    pieces: list[str] = []
    at = 0
    for found in _CHANGING.finditer(value):
        pieces += [_quoted(value[at : found.end(found.lastgroup or 0)]), f":{found.lastgroup}"]
        at = found.end()
    if at < len(value) or not pieces:
        pieces.append(_quoted(value[at:]))
    return pieces[0] if len(pieces) == 1 else f"({' || '.join(pieces)})"


def _quoted(text: str) -> str:
    # a colon before a word is a variable of pgbench's, also within quotes
    return "E'" + text.replace("\\", "\\\\").replace("'", "''").replace(":", "\\x3a") + "'"
