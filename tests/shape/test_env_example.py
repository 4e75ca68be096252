""".env.example is complete, says what config.py says, and changes nothing when it is copied as it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from edumeet_recording.config import ClientSettings, NodeSettings, OrchestratorSettings


def test_it_is_what_the_tool_makes(root: Path) -> None:
    made = subprocess.run([sys.executable, root / "tools/env_example.py"], capture_output=True, text=True, check=True)
    assert (root / ".env.example").read_text() == made.stdout, "run: make generated"


@pytest.mark.parametrize("settings", [OrchestratorSettings, NodeSettings, ClientSettings])
def test_a_copy_changes_no_default(
    root: Path, settings: type[OrchestratorSettings | NodeSettings | ClientSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in settings.model_fields:
        monkeypatch.delenv(f"{settings.model_config.get('env_prefix', '')}{name}".upper(), raising=False)
    assert settings(_env_file=root / ".env.example") == settings(_env_file=None)


def test_every_setting_is_described() -> None:
    fields = OrchestratorSettings.model_fields | NodeSettings.model_fields | ClientSettings.model_fields
    assert [name for name, field in fields.items() if not field.description] == []
