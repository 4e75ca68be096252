"""What `edumeet-recording up` has people paste into another shell."""

import os
import shlex
from pathlib import Path

import pytest

from edumeet_recording.cli.all_in_one import COMMAND, command


def test_the_command_is_named_where_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / COMMAND).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command() == COMMAND


def test_elsewhere_it_is_a_path_that_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (path,) = shlex.split(command())
    assert os.access(path, os.X_OK)
