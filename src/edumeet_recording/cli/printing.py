"""Where commands write: answers to standard output, as tables or JSON; everything else to standard error."""

import sys

from pydantic import BaseModel
from pydantic_core import to_json
from rich.console import Console, RenderableType
from rich.text import Text

PIPED_COLUMNS = 120

# a file or pipe has no width of its own; names that users typed are shown as they are, not read as markup
stdout = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_COLUMNS)
stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_json(value: BaseModel | dict[str, object] | list[object]) -> None:
    """One line of JSON, as the API would write it."""
    sys.stdout.write(to_json(value, by_alias=True).decode() + "\n")
    sys.stdout.flush()


def print_answer(value: BaseModel | dict[str, object] | list[object], shown: RenderableType, *, as_json: bool) -> None:
    """`value` for programs, or `shown` for people."""
    if as_json:
        print_json(value)
    else:
        # plain text is meant to be copied: a terminal may fold it, we do not
        stdout.print(shown, soft_wrap=isinstance(shown, str | Text))
