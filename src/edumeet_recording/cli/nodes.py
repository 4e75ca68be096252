"""`edumeet-recording nodes …`: room servers and FFmpeg nodes, and taking a node out of use."""

from typing import Annotated

import typer

from edumeet_recording.cli.printing import print_answer
from edumeet_recording.cli.service import Json, Token, Url, ask
from edumeet_recording.cli.tables import node_details, nodes_table
from edumeet_recording.client import RecordingClient

app = typer.Typer(no_args_is_help=True, help="Look at room servers and FFmpeg nodes, and take nodes out of use.")

NodeId = Annotated[str, typer.Argument(metavar="NODE", help="Id of the node.", show_default=False)]


@app.command("list")
def list_nodes(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List room servers and FFmpeg nodes, with health and load."""

    async def work(client: RecordingClient) -> None:
        found = await client.nodes()
        print_answer(list[object](found), nodes_table(found), as_json=as_json)

    ask(url, token, work)


@app.command()
def show(node: NodeId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Show one room server or FFmpeg node, and what happened to it."""

    async def work(client: RecordingClient) -> None:
        found = await client.node(node)
        print_answer(found, node_details(found, await client.node_events(node)), as_json=as_json)

    ask(url, token, work)


@app.command()
def drain(node: NodeId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Move an FFmpeg node's recordings to other nodes and give it no new ones, before it is taken out of use.

    [dim]edumeet-recording nodes drain ffmpeg-node-1[/dim]
    """

    async def work(client: RecordingClient) -> None:
        found = await client.drain(node)
        print_answer(found, node_details(found), as_json=as_json)

    ask(url, token, work)


@app.command()
def undrain(node: NodeId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Give an FFmpeg node recordings again, also one that was quarantined for failing them."""

    async def work(client: RecordingClient) -> None:
        found = await client.undrain(node)
        print_answer(found, node_details(found), as_json=as_json)

    ask(url, token, work)
