"""The diary of a run: what was done to whom and when, a JSON object a line, so that a failure can be told from."""

import json
import time
from pathlib import Path


class Diary:
    """Appends to a file. `at`: epoch seconds by this machine's clock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, done: str, **details: object) -> float:
        """Write down what was done now; the time of it."""
        at = time.time_ns() / 1e9
        line = json.dumps({"at": round(at, 3), "done": done, **details}, default=str)
        with self._path.open("a") as file:
            file.write(f"{line}\n")
        return at
