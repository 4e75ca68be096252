"""`edumeet-recording scaling …`: what the fleet is, should be and was, and what is wrong with it."""

from enum import StrEnum
from typing import Annotated

import typer

from edumeet_recording.cli.printing import print_answer
from edumeet_recording.cli.scaling_tables import alerts_table, capacity_table, decisions_table, recommendations_table
from edumeet_recording.cli.service import Json, Token, Url, ask
from edumeet_recording.client import RecordingClient

app = typer.Typer(no_args_is_help=True, help="See how many nodes there are and should be, and what is wrong.")


class AlertState(StrEnum):
    """Which alerts are listed."""

    OPEN = "open"
    OVER = "over"
    ALL = "all"


@app.command()
def capacity(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Show what each region has, and what is asked of it."""

    async def work(client: RecordingClient) -> None:
        found = await client.capacity()
        print_answer(found, capacity_table(found.regions), as_json=as_json)

    ask(url, token, work)


@app.command()
def evaluate(
    apply: Annotated[bool, typer.Option("--apply", help="Also have it done, now.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show how many nodes each region should have, and what would be done about it.

    [dim]edumeet-recording scaling evaluate --apply[/dim]
    """

    async def work(client: RecordingClient) -> None:
        found = await client.evaluate_scaling(dry_run=not apply)
        print_answer(found, recommendations_table(found.regions), as_json=as_json)

    ask(url, token, work)


@app.command()
def history(
    region: Annotated[str | None, typer.Option(help="Only of this region.")] = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show the latest decisions and alerts, newest first."""

    async def work(client: RecordingClient) -> None:
        found = await client.scaling_history(region=region, most=most)
        print_answer(list[object](found), decisions_table(found), as_json=as_json)

    ask(url, token, work)


@app.command()
def alerts(
    state: Annotated[AlertState, typer.Option(help="Which ones.")] = AlertState.OPEN,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show what needs somebody now, or did."""

    async def work(client: RecordingClient) -> None:
        found = await client.alerts(state.value)
        print_answer(list[object](found), alerts_table(found), as_json=as_json)

    ask(url, token, work)
