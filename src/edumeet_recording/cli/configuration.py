"""`edumeet-recording config` and `edumeet-recording db …`: what is in force, and the database's schema.

What reaches the database is imported when it is needed: it takes its time.
"""

import asyncio

import typer

from edumeet_recording.cli.printing import print_answer
from edumeet_recording.cli.service import Json
from edumeet_recording.cli.settings import in_force, load
from edumeet_recording.cli.tables import settings_table
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.telemetry import configure_logging

database = typer.Typer(no_args_is_help=True, help="The database's schema.")


def config(as_json: Json = False) -> None:
    """Show every setting with its value, and whether it comes from the environment, from .env, or is the default.

    Of secrets it shows only whether they are set.
    """
    rows = in_force()
    by_variable: dict[str, object] = {
        variable: {"value": value, "from": origin} for _section, variable, value, origin in rows
    }
    print_answer(by_variable, settings_table(rows), as_json=as_json)


@database.command("upgrade")
def upgrade_database(as_json: Json = False) -> None:
    """Bring the schema to this release's: of DATABASE_URL, or of the embedded server in STATE_DIR.

    An orchestrator does so too when it starts; this is for doing it first.
    """
    from edumeet_recording.cli.schema import bring_up_to_date

    settings = load(OrchestratorSettings)
    configure_logging("warning", settings.log_format)
    before, now = asyncio.run(bring_up_to_date(settings))
    told = f"at {now} already" if before == now else f"upgraded from {before or 'empty'} to {now}"
    print_answer({"before": before, "now": now}, told, as_json=as_json)
