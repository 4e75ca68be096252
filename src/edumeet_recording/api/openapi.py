"""Writes openapi.json: `python -m edumeet_recording.api.openapi [FILE]`."""

import json
import sys
from pathlib import Path

from edumeet_recording.api.app import bare_app


def document() -> str:
    """The OpenAPI document as it is checked in."""
    return json.dumps(bare_app().openapi(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "openapi.json").write_text(document())
