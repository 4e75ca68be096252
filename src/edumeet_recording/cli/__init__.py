"""The command line, `edumeet-recording …`: every command, and how each ends."""

import sys

import typer

from edumeet_recording.cli import configuration, fleet, nodes, recordings, scaling, services, tenants, tokens
from edumeet_recording.cli.outcome import MEANING, failure_of
from edumeet_recording.cli.printing import stderr

_EXIT_CODES = "\n\n".join(f"[bold]{code.value}[/bold]  {meaning}" for code, meaning in MEANING.items())
_RUN, _ASK, _OPERATE = "Run", "Use a running service", "Operate"

app = typer.Typer(
    name="edumeet-recording",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Record eduMEET meetings: run the service, and use one that runs.\n\n"
    "[dim]edumeet-recording up[/dim]  runs everything on this machine; "
    "[dim]edumeet-recording demo[/dim]  shows and checks what it does.",
    epilog=f"Exit codes:\n\n{_EXIT_CODES}",
)
app.command(rich_help_panel=_RUN)(services.up)
app.command(rich_help_panel=_RUN)(services.demo)
app.command(rich_help_panel=_RUN)(services.orchestrator)
app.command(rich_help_panel=_RUN)(services.node)
app.command("simulate-room", rich_help_panel=_RUN)(services.simulate_room)
app.command("simulate-fleet", rich_help_panel=_RUN)(fleet.simulate_fleet)
app.add_typer(recordings.app, name="recordings", rich_help_panel=_ASK)
app.add_typer(nodes.app, name="nodes", rich_help_panel=_ASK)
app.add_typer(scaling.app, name="scaling", rich_help_panel=_ASK)
app.add_typer(tenants.app, name="tenants", rich_help_panel=_ASK)
app.command(rich_help_panel=_OPERATE)(tokens.token)
app.command(rich_help_panel=_OPERATE)(configuration.config)
app.add_typer(configuration.database, name="db", rich_help_panel=_OPERATE)


def main() -> None:
    """Entry of the program: an expected error is one line and an exit code, a defect of ours is logged as it is."""
    try:
        app()
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        stderr.print(f"error: {failure.message}", style="red", soft_wrap=True)
        sys.exit(failure.code)
