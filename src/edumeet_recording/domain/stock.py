"""What is stored of an ended recording, against what its rows say; pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass

_ATTEMPT = re.compile(r"(?:@[^/]+/)?recordings/[^/]+/(\d+)/.+")


@dataclass(frozen=True, slots=True)
class Stock:
    """What does not fit. `leftovers`: of earlier attempts, which nobody reads; nothing else is ever thrown away."""

    missing_tape: tuple[str, ...]
    unknown_tape: tuple[str, ...]
    file_is_missing: bool
    leftovers: tuple[str, ...]


def take_stock(
    tape: Collection[str], files: Collection[str], *, chunks: Collection[str], file_key: str | None, attempt: int
) -> Stock:
    """Compare the keys of stored `tape` and `files` with the `chunks` that rows name and the `file_key`.

    `attempt` was the last: what a finalizer of an earlier one left beside the file's own folder is a leftover.
    """
    kept = file_key.rpartition("/")[0] + "/" if file_key else None
    leftovers = [
        key
        for key in files
        if (number := _ATTEMPT.fullmatch(key)) is not None
        and int(number[1]) <= attempt
        and not (kept and key.startswith(kept))
    ]
    return Stock(
        missing_tape=tuple(sorted(set(chunks) - set(tape))),
        unknown_tape=tuple(sorted(set(tape) - set(chunks))),
        file_is_missing=file_key is not None and file_key not in files,
        leftovers=tuple(sorted(leftovers)),
    )
