"""Commands as they are typed, where nobody needs to be asked: help, usage, tokens, streams."""

import json
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from edumeet_recording import cli
from edumeet_recording.api.auth import Scope
from edumeet_recording.cli.outcome import ExitCode
from edumeet_recording.cli.recordings import parse_stream
from edumeet_recording.cli.settings import BadSettings
from edumeet_recording.cli.tokens import own_secret

SIGNED_WITH = "what the tests sign their tokens with"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JWT_SECRET", SIGNED_WITH)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output."""
    outcome = CliRunner().invoke(cli.app, arguments)
    return outcome.exit_code, outcome.stdout


COMMANDS = [
    *([name] for name in ("up", "demo", "orchestrator", "node", "simulate-room", "token", "config")),
    *(
        ["recordings", name]
        for name in ("start", "stop", "cancel", "list", "show", "watch", "download", "hold", "release", "delete")
    ),
    *(["nodes", name] for name in ("list", "show", "drain", "undrain")),
    *(["scaling", name] for name in ("capacity", "evaluate", "history", "alerts")),
    *(["tenants", name] for name in ("list", "show", "set", "unset")),
    ["db", "upgrade"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_answers_in_json(command: list[str]) -> None:
    code, shown = run(*command, "--help")
    assert code == ExitCode.OK
    assert "Usage:" in shown
    assert "--json" in shown or command in (["node"], ["simulate-room"])


def test_help_explains_the_exit_codes() -> None:
    _code, shown = run("--help")
    assert all(str(code.value) in shown for code in ExitCode)
    assert "Exit codes" in shown


@pytest.mark.parametrize("arguments", [["unknown"], ["recordings", "stop"], ["token", "--scope", "all"]])
def test_wrong_usage_has_its_own_code(arguments: list[str]) -> None:
    assert run(*arguments)[0] == ExitCode.USAGE


def test_a_token_is_printed_bare_and_holds() -> None:
    code, shown = run("token", "--scope", "nodes:read", "--tenant", "uni-1", "--ttl", "60", "--subject", "me")
    assert code == ExitCode.OK
    claims = jwt.decode(shown.strip(), SIGNED_WITH, algorithms=["HS256"])
    assert (claims["scope"], claims["tenantId"], claims["sub"]) == ("nodes:read", "uni-1", "me")
    assert claims["exp"] - claims["iat"] == 60


def test_a_token_has_every_scope_unless_told_otherwise() -> None:
    answer = json.loads(run("token", "--json")[1])
    assert answer["scopes"] == [scope.value for scope in Scope]
    assert jwt.decode(answer["token"], SIGNED_WITH, algorithms=["HS256"])["scope"].split() == answer["scopes"]


def test_without_a_secret_a_token_comes_from_that_of_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JWT_SECRET")
    assert isinstance(CliRunner().invoke(cli.app, ["token"]).exception, BadSettings)
    made = own_secret(tmp_path / "state")
    jwt.decode(run("token")[1].strip(), made, algorithms=["HS256"])


def test_the_secret_of_up_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    made = own_secret(tmp_path / "new" / "state")
    assert own_secret(tmp_path / "new" / "state") == made
    assert len(made) >= 32
    (path,) = (tmp_path / "new" / "state").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_config_shows_no_secret() -> None:
    code, shown = run("config", "--json")
    assert code == ExitCode.OK
    assert json.loads(shown)["JWT_SECRET"] == {"value": "(set)", "from": "environment"}
    assert SIGNED_WITH not in shown


@pytest.mark.parametrize(
    ("text", "stream"),
    [
        ("opus:111", {"kind": "audio", "codecName": "opus", "payloadType": 111}),
        ("VP8:96:7:5006", {"kind": "video", "codecName": "VP8", "payloadType": 96, "ssrc": 7, "port": 5006}),
    ],
)
def test_a_stream_is_read_as_it_is_typed(text: str, stream: dict[str, object]) -> None:
    assert parse_stream(text) == stream


@pytest.mark.parametrize("text", ["opus", "opus:x", "opus:111:7", "opus:111:7:1:2", "mp3:1", ""])
def test_a_stream_that_makes_no_sense_is_wrong_usage(text: str) -> None:
    code, _shown = run("recordings", "start", "server", "room", "peer", "--stream", text)
    assert code == ExitCode.USAGE
