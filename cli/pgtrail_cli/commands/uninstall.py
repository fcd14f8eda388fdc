"""``pgtrail uninstall``: lists what would be removed, offers an export, asks for confirmation."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.text import Text

from pgtrail.connection import Connection
from pgtrail.errors import InvalidInput, PgtrailError
from pgtrail.text import printable
from pgtrail.uninstall.plan import Plan, Role, look
from pgtrail.uninstall.steps import Export, release_tables, remove_rest
from pgtrail_cli.commands.export import write_csv
from pgtrail_cli.options import with_connection
from pgtrail_cli.render import console, facts_table, local_time
from pgtrail_cli.streams import say

NAMES_SHOWN = 12


@click.command()
@click.option(
    "--export",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the whole log to this CSV first, as `pgtrail export` does.",
)
@click.option("--no-export", is_flag=True, help="Keep no copy of the log, and do not ask about one.")
@click.option("--yes", is_flag=True, help="Do not ask for the database's name.")
@click.option("--ignore-holds", is_flag=True, help="Even if a legal hold is in force.")
@click.option("--include-undelivered", is_flag=True, help="Even if a destination has not received everything.")
@click.option(
    "--cascade", is_flag=True, help="Also drop what else depends on pgtrail's schema: views, functions, foreign keys."
)
@click.option(
    "--dry-run", is_flag=True, help="List what would be removed, and what prevents it; exit status 1 if anything does."
)
@with_connection
def uninstall(
    connection: Connection,
    file: Path | None,
    no_export: bool,
    yes: bool,
    dry_run: bool,
    **allowed: bool,
) -> None:
    """Remove pgtrail from a database, with the log.

    Triggers, policies, grants, event triggers, roles and schema audit are dropped; your own tables and rows stay as
    they are. It says what would be dropped, offers to export the log, and asks for the database's name. Each table is
    locked only for a moment. If it is interrupted, run it again: the log stays complete until the very end.

    \b
    Example:
      pgtrail uninstall
      pgtrail uninstall --export audit.csv --yes
    """
    if file and no_export:
        raise InvalidInput("--export and --no-export exclude each other", "give one of them")
    asked = sys.stdin.isatty()
    if not (asked or dry_run or (yes and (file or no_export))):
        raise InvalidInput(
            "there is no terminal to ask on", "give --yes, and --export FILE or --no-export; or --dry-run"
        )
    plan = look(connection)
    _show(plan)
    obstacles = list(plan.obstacles(**allowed))
    for obstacle in obstacles:
        say(obstacle.format_message())
    if obstacles:
        raise SystemExit(1)
    if dry_run:
        return
    if asked:
        file = _ask(plan, file, no_export, yes)
    if file and file.is_file():
        raise PgtrailError(f"the file {file} exists: nothing was removed", "name another in --export")
    _remove(connection, plan, file, allowed["cascade"])


def _show(plan: Plan) -> None:
    times = f", {local_time(plan.first)} to {local_time(plan.last)}" if plan.first else ""
    facts = {
        "tracked tables": _listed(plan.tracked),
        "events": f"{plan.events:,}{times}, in {plan.partitions} partitions",
        "seals": f"{plan.seals:,}",
        "legal holds": _listed(plan.holds),
        "destinations": _listed(map(str, plan.deliveries)),
        "event triggers": _listed(plan.event_triggers),
        "schemas": "audit, audit_internal, pgtrail_meta, and all that is in them",
        "roles": Text("\n".join(_roles(plan.roles))),
        "depends on it": _listed([*plan.dependents, *(f"{name} names it" for name in plan.callers)]),
        "still running": _listed(plan.sessions or plan.workers),
    }
    say(f"this would be removed from the database {plan.database}:")
    console().print(facts_table(facts))
    say("your own tables stay; events, seals and destinations can't be restored")
    say("the export has the log as CSV; pg_dump --schema audit keeps everything")
    say("what calls audit.set_actor() fails from then on: remove that call from the application first")
    if plan.sessions or plan.workers:
        say("stop what is still running, above all the worker, which would find no log")


def _listed(given: Iterable[str]) -> str:
    known = [printable(name) for name in given]
    more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return (", ".join(known[:NAMES_SHOWN]) or "none") + more


def _roles(known: Iterable[Role]) -> Iterator[str]:
    known = list(known)
    yield _listed(role.name for role in known if not role.used)
    yield from (f"stay: {line}" for line in _staying(role for role in known if role.used))


def _staying(known: Iterable[Role]) -> Iterator[str]:
    """Roles that stay, grouped by their reasons."""
    together: dict[str, list[str]] = {}
    for role in known:
        together.setdefault(_listed(role.used or role.rights), []).append(role.name)
    yield from (f"{', '.join(names)} ({reasons})" for reasons, names in together.items())


def _ask(plan: Plan, file: Path | None, no_export: bool, yes: bool) -> Path | None:
    """Ask for confirmation; returns the file to export to."""
    if not (file or no_export) and click.confirm("Export the log first?", default=True, err=True):
        file = click.prompt(
            "File",
            default=Path(f"audit-{plan.database.replace('/', '_')}-{datetime.now(UTC):%Y-%m-%d}.csv"),
            type=click.Path(dir_okay=False, path_type=Path),
            err=True,
        )
    if not yes:
        typed = click.prompt(f"Type the database's name ({plan.database}) to remove pgtrail from it", err=True)
        if typed != plan.database:
            raise PgtrailError(
                f"{typed} is not the database's name: nothing was removed", "run it again if you mean it"
            )
    return file


def _remove(connection: Connection, plan: Plan, file: Path | None, cascade: bool) -> None:
    with Export(connection, file, write_csv) if file else contextlib.nullcontext() as export:
        if export:
            export.write()
        connection.execute("set client_min_messages = warning")
        try:
            release_tables(connection, say)
            left = remove_rest(connection, export, cascade=cascade, report=say)
        except BaseException:
            say("not finished: run pgtrail uninstall again to continue")
            raise
    if export:
        say(f"{export.events:,} events in {file}")
    say(f"removed from {plan.database}")
    for line in _staying(left):
        say(f"these roles stay: {line}")
