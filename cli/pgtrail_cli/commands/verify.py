"""``pgtrail verify``: whether the chains of seals hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from psycopg.rows import dict_row

from pgtrail.connection import Connection
from pgtrail.errors import InvalidInput, PgtrailError
from pgtrail.hub import changed_nodes
from pgtrail.verify import QUERIES
from pgtrail.verify.anchor import find_anchors
from pgtrail.verify.connecting import is_under_policies, open_pinned, read_through_policies
from pgtrail.verify.evidence import Reported, read_evidence
from pgtrail.verify.integrity import changed_objects, is_unsafe
from pgtrail.verify.log import Log, check_log, missing_seals, read_log
from pgtrail.verify.nodes import check_node
from pgtrail.verify.source import Source
from pgtrail.verify.verify_chains import Chain, Stopped, verify_chains
from pgtrail_cli.commands.verify_archive import verify_archive
from pgtrail_cli.filters import archive_option
from pgtrail_cli.options import dsn_option
from pgtrail_cli.progress import progress_bar
from pgtrail_cli.streams import read_file, say
from pgtrail_cli.verify_report import Report, rewritten


@click.command()
@click.option(
    "--anchor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare the chain with the seals in this file: what a SIEM received, or pgtrail seal --json wrote.",
)
@click.option("--from", "first", type=click.IntRange(min=1), default=1, help="Continue with this seal.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Connections (of an archive: threads) that check at once.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a problem.")
@click.option("--node", "only", multiple=True, help="On a hub: only the seals of this node; can be repeated.")
@archive_option
@dsn_option
def verify(
    dsn: str,
    archive: str | None,
    anchor: Path | None,
    first: int,
    jobs: int,
    as_json: bool,
    only: tuple[str, ...],
) -> None:
    """Recompute every seal from the events, and say what differs.

    It uses its own statements and calls no function of the database's. It also lists what in schema audit differs from
    what this version creates. Erasures, removals and clocks that were set back are listed too, but are not a problem.

    A superuser could rewrite the events and the whole chain. Only an anchor shows that: seals that are kept elsewhere,
    such as in a SIEM (pgtrail destination add --seals). If it is interrupted, it says with which seal to continue. Exit
    status 1 if anything differs, 2 if there is no seal with that number.

    On a hub it also recomputes the seals of each node, and names a node that has rewritten its history.

    With --archive it checks the months of an archive, or the one whose folder is named, without a database.

    \b
    Example:
      pgtrail verify --anchor seals.jsonl
      pgtrail verify --archive /mnt/archive
      pgtrail verify --archive /mnt/archive/month=2025-01
    """
    if archive is not None:
        if first > 1:
            raise click.UsageError("--archive and --from exclude each other.")
        verify_archive(archive, anchor, jobs, Report(as_json))
        return
    report = Report(as_json)
    with open_pinned(dsn) as connection:
        under_policies = _check_schema(connection, report)
        chains = list(_chains(connection, first, only))
        last, waiting = _waiting(connection)
        evidence = read_evidence(connection)
        log = read_log(connection, evidence)
        report.add(_beside_seals(connection, chains, log, anchor))
        with _progress(chains) as advance:
            for chain, found in verify_chains(dsn, chains, jobs, log, advance, through_policies=under_policies):
                if found.is_warning:
                    report.note("warning", *chain.describe(found))
                else:
                    report.add([chain.describe(found)])
        for listed in evidence.listed:
            report.note(*listed)
    checked = "; ".join(_counted(chain, first) for chain in chains)
    report.fail_if_problems(checked)
    # Only now: what is missing at the end of a chain that was cut off is a problem, and has been named.
    if first > 1 and not any(first in chain.seals for chain in chains if chain.node is None):
        raise InvalidInput(f"there is no seal {first} to continue with", f"the last is {last}")
    say(f"{checked} hold; {waiting:,} events wait for the next seal (the last is {last})")
    if anchor is None:
        say("only an anchor shows that nobody rewrote the whole chain: --anchor FILE")


def _check_schema(connection: Connection, report: Report) -> bool:
    """Report what differs in schema audit; whether row-level security applies to this role.

    :raises PgtrailError: something differs that could hide or replace events.
    """
    under_policies = is_under_policies(connection)
    changed = list(changed_objects(connection))
    report.add(changed)
    if any(is_unsafe(name, under_policies) for name, _ in changed):
        raise PgtrailError(
            "the events were not checked: what was changed above can hide or replace what is read",
            "put it back; or restore the log elsewhere, and verify it there",
        )
    if under_policies:
        # Policies are as they should be, and let whoever may verify see everything.
        read_through_policies(connection)
    return under_policies


def _chains(connection: Connection, first: int, only: tuple[str, ...]) -> Iterator[Chain]:
    if not only:
        yield Chain(None, Source().numbers(connection, first))
    states = {state["name"]: state["state"] for state in _node_states(connection)}
    for unknown in set(only) - states.keys():
        raise InvalidInput(f'there is no node "{unknown}"', f"the nodes are: {', '.join(states) or 'none'}")
    for name, state in states.items():
        if state == "copying" and (not only or name in only):
            say(f"{name} is still being copied, and not checked")
        elif not only or name in only:
            yield Chain(name, Source(name).numbers(connection))


def _node_states(connection: Connection) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(QUERIES["node_state"]).fetchall()


def _waiting(connection: Connection) -> tuple[int, int]:
    head = connection.execute(QUERIES["head_snapshot"]).fetchone()
    snapshot, above_id = head or ("1:1:", 0)
    _, from_xmax, still_open = snapshot.split(":")
    asked = {"open": [xid for xid in still_open.split(",") if xid], "from_xmax": from_xmax, "above_id": above_id}
    last, waiting = connection.execute(QUERIES["waiting"], asked).fetchone() or (0, 0)
    return last, waiting


def _beside_seals(connection: Connection, chains: list[Chain], log: Log, anchor: Path | None) -> Iterator[Reported]:
    """What does not match apart from the events of a seal."""
    for chain in chains:
        if chain.node is None:
            yield from check_log(connection, log)
            for missing in missing_seals(chain.seals, min(chain.seals, default=1)):
                yield f"seal {missing}", "it is missing"
        else:
            yield from check_node(connection, chain.node)
    if anchor is not None:
        yield from _against(connection, anchor)
    of_nodes = {chain.node for chain in chains}
    for node, problem in changed_nodes(connection, _node_states(connection)):
        if node in of_nodes:
            yield f"node {node}", problem


def _counted(chain: Chain, first: int) -> str:
    beginning = f", from seal {first} on" if first > 1 and chain.node is None else ""
    return f"{chain.prefix}{sum(chain.seals.values()):,} events in {len(chain.seals):,} seals{beginning}"


@contextmanager
def _progress(chains: list[Chain]) -> Iterator[Callable[[int], None]]:
    """How far it is, on a terminal; when it is stopped, how to continue."""
    with progress_bar("verifying", sum(sum(chain.seals.values()) for chain in chains)) as advance:
        try:
            yield advance
        except Stopped as stop:
            say(f"stopped; continue with: pgtrail verify --from {stop.first}")
            raise SystemExit(130) from stop


def _against(connection: Connection, anchor: Path) -> Iterator[Reported]:
    anchors = find_anchors(read_file(anchor))
    present: dict[int, str] = dict(connection.execute(QUERIES["seal_hashes"], {"numbers": list(anchors)}).fetchall())
    for number, known in sorted(anchors.items()):
        if number not in present:
            yield f"seal {number}", f"it is missing: {anchor} has it"
        elif present[number] != known.hash:
            yield rewritten(number, anchor, known.hash)
