"""`edumeet-recording tenants …`: where tenants' recordings may be, and how many they may have."""

from typing import Annotated

import typer

from edumeet_recording.cli.printing import print_answer
from edumeet_recording.cli.service import Json, Token, Url, ask
from edumeet_recording.cli.tables import tenants_table
from edumeet_recording.client import RecordingClient
from edumeet_recording.wire.http import TenantLimits

app = typer.Typer(no_args_is_help=True, help="Look at tenants' limits, and set them.")

TenantId = Annotated[str, typer.Argument(metavar="TENANT", help="Id of the tenant.", show_default=False)]
Count = Annotated[int | None, typer.Option(min=0, help="At most so many.", show_default="any number")]


@app.command("list")
def list_tenants(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List the tenants that have limits."""

    async def work(client: RecordingClient) -> None:
        found = await client.tenants()
        print_answer(list[object](found), tenants_table(found), as_json=as_json)

    ask(url, token, work)


@app.command()
def show(tenant: TenantId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Show the limits of one tenant."""

    async def work(client: RecordingClient) -> None:
        found = await client.tenant(tenant)
        print_answer(found, tenants_table([found]), as_json=as_json)

    ask(url, token, work)


@app.command("set")
def set_limits(
    tenant: TenantId,
    *,
    region: Annotated[
        list[str] | None, typer.Option(help="A region, or eu-* for several; once for each.", show_default="any")
    ] = None,
    recordings: Count = None,
    queued: Count = None,
    share: Annotated[int, typer.Option(min=1, max=1000, help="Of the fleet while recordings wait.")] = 1,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Set the limits of a tenant; what is not named has none.

    Nothing of its recordings, tape and file included, gets to any other than its regions, from the next start on.

    [dim]edumeet-recording tenants set university-1 --region "eu-*" --recordings 50[/dim]
    """
    limits = TenantLimits.model_validate(
        {
            "allowedRegions": None if region is None else tuple(region),
            "maxActiveRecordings": recordings,
            "maxQueuedRecordings": queued,
            "share": share,
        }
    )

    async def work(client: RecordingClient) -> None:
        found = await client.limit_tenant(tenant, limits)
        print_answer(found, tenants_table([found]), as_json=as_json)

    ask(url, token, work)


@app.command()
def unset(tenant: TenantId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Lift the limits of a tenant."""

    async def work(client: RecordingClient) -> None:
        await client.unlimit_tenant(tenant)
        print_answer({"tenant": tenant}, f"{tenant} has no limits any more", as_json=as_json)

    ask(url, token, work)
