"""`edumeet-recording token`, and the secret that `up` makes for itself."""

import os
import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.cli.printing import print_answer
from edumeet_recording.cli.service import Json
from edumeet_recording.cli.settings import BadSettings, load
from edumeet_recording.config import OrchestratorSettings

DAY_S = 86400


def secret_file(state_dir: Path) -> Path:
    """Where `up` keeps its secret."""
    return state_dir / "jwt_secret"


def own_secret(state_dir: Path) -> str:
    """The secret that `up` signs with: made once, readable by its owner alone."""
    path = secret_file(state_dir)
    if not path.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as output:
            output.write(secrets.token_urlsafe(48))
        unfinished.rename(path)
    return path.read_text()


def issue(secret: str, scopes: tuple[Scope, ...], tenant: str | None, ttl_s: int, subject: str) -> str:
    """A token that holds from now on."""
    return issue_token(secret, subject=subject, scopes=scopes, tenant=tenant, ttl_s=ttl_s, now=time.time_ns() / 1e9)


def token(
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it is good for; once for each.", show_default="all")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="The only tenant it sees.", show_default="all")] = None,
    ttl: Annotated[int, typer.Option(min=1, help="Seconds it holds.")] = DAY_S,
    subject: Annotated[str, typer.Option(help="Who it is for; recordings remember it.")] = "cli",
    as_json: Json = False,
) -> None:
    """Issue a token, signed with JWT_SECRET, or with the secret that `up` keeps in STATE_DIR.

    [dim]export EDUMEET_RECORDING_TOKEN=$(edumeet-recording token)[/dim]

    [dim]edumeet-recording token --scope recordings:read --tenant uni-1 --ttl 3600[/dim]
    """
    settings = load(OrchestratorSettings)
    path = secret_file(settings.state_dir)
    secret = settings.jwt_secret.get_secret_value() or (path.read_text() if path.exists() else "")
    if not secret:
        raise BadSettings(f"JWT_SECRET: is not set, and there is no {path} that `up` has made")
    scopes = tuple(scope or Scope)
    issued = issue(secret, scopes, tenant, ttl, subject)
    # bare, on a line of its own: it is meant for $(…), and must not be wrapped
    print_answer({"token": issued, "scopes": scopes, "tenantId": tenant, "expiresInS": ttl}, issued, as_json=as_json)
