"""``pgtrail verify``: whether the chains of seals hold."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from psycopg.rows import dict_row
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pgtrail.archive.checking import check_archive
from pgtrail.connection import Connection
from pgtrail.errors import NotUnderstood, PgtrailError
from pgtrail.hub import changed_nodes
from pgtrail.verify import QUERIES
from pgtrail.verify.anchor import find_anchors, find_manifests
from pgtrail.verify.beside import check_log
from pgtrail.verify.connecting import is_under_policies, open_pinned, read_through_policies
from pgtrail.verify.evidence import Reported, gather
from pgtrail.verify.integrity import changed_objects, is_unsafe
from pgtrail.verify.nodes import check_node
from pgtrail.verify.seals import read_log
from pgtrail.verify.source import Source
from pgtrail.verify.verify_chains import Chain, Stopped, against_events
from pgtrail_cli.filters import archive_option
from pgtrail_cli.options import dsn_option
from pgtrail_cli.render import console, printable
from pgtrail_cli.streams import read_file, say


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

    It reads the tables with its own statements and calls no function of the database's. It also lists what in schema
    audit differs from what this version creates. Erasures, removals and clocks that were set back are listed too;
    these alone are not a problem.

    A superuser could rewrite the events and the whole chain. Only an anchor shows that: seals that were kept elsewhere,
    as by a SIEM (pgtrail destination add --seals). If it is interrupted, it says with which seal to continue. Exit
    status 1 if anything differs, 2 if there is no seal with that number.

    On a hub it recomputes the seals of each node too, and names a node that has rewritten its history.

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
        _verify_archive(archive, anchor, jobs, as_json)
        return
    with open_pinned(dsn) as connection:
        report = Report(as_json)
        under_policies = is_under_policies(connection)
        changed = list(changed_objects(connection))
        for subject, problem in changed:
            report.problem(subject, problem)
        if any(is_unsafe(name, under_policies) for name, _ in changed):
            raise PgtrailError(
                "the events were not checked: what was changed above can hide or replace what is read",
                "put it back; or restore the log elsewhere, and verify it there",
            )
        if under_policies:
            # Policies are as they should be, and let whoever may verify see everything.
            read_through_policies(connection)
        chains = list(_chains(connection, first, only))
        last, waiting = _waiting(connection)
        _check(connection, dsn, anchor, chains, jobs, report, under_policies)
    count = "; ".join(
        f"{chain.of}{sum(chain.seals.values()):,} events in {len(chain.seals):,} seals"
        f"{f', from seal {first} on' if first > 1 and chain.node is None else ''}"
        for chain in chains
    )
    if report.problems:
        say(f"{report.problems:,} problems in {count}")
        raise SystemExit(1)
    # Only now: what is missing at the end of a chain that was cut off is a problem, and has been named.
    if first > 1 and not any(first in chain.seals for chain in chains if chain.node is None):
        raise NotUnderstood(f"there is no seal {first} to go on with", f"the last is {last}")
    say(f"{count} hold; {waiting:,} events wait for the next seal (the last is {last})")
    if anchor is None:
        say("that nobody rewrote the whole chain, an anchor shows: --anchor FILE")


@dataclass(slots=True)
class Report:
    """What was found, as it is printed: problems, which fail; warnings, erasures and removals, which are listed.

    :param problems: how many.
    """

    as_json: bool
    problems: int = 0

    def problem(self, subject: str, text: str) -> None:
        """Something that does not match."""
        self.problems += 1
        self._print({"subject": subject, "problem": text}, f"{subject}: {text}")

    def note(self, kind: str, subject: str, text: str) -> None:
        """Something that whoever verifies should know."""
        self._print({"subject": subject, kind: text}, f"{kind} {subject}: {text}")

    def _print(self, document: dict[str, str], line: str) -> None:
        click.echo(printable(json.dumps(document) if self.as_json else line))


def _chains(connection: Connection, first: int, only: tuple[str, ...]) -> Iterator[Chain]:
    if not only:
        yield Chain(None, Source().numbers(connection, first))
    states = {state["name"]: state["state"] for state in _node_states(connection)}
    for unknown in set(only) - states.keys():
        raise NotUnderstood(f'there is no node "{unknown}"', f"the nodes are: {', '.join(states) or 'none'}")
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


def _verify_archive(where: str, anchor: Path | None, jobs: int, as_json: bool) -> None:
    text = "" if anchor is None else read_file(anchor)
    anchors = {} if anchor is None else find_anchors(text)
    checked = check_archive(where, jobs, find_manifests(text))
    report = Report(as_json)
    for subject, problem in checked.problems:
        report.problem(subject, problem)
    seals, manifests = checked.evidence.seals, checked.evidence.manifests
    for number, (digest, _) in sorted(seals.items()):
        if number in anchors and anchors[number].hash != digest:
            report.problem(f"seal {number}", f"it was rewritten: {anchor} has the hash {anchors[number].hash}")
    events = sum(month.events for month in checked.months)
    count = f"{events:,} events of {len(checked.months):,} months, under {len(seals):,} seals"
    if report.problems:
        say(f"{report.problems:,} problems in {count}")
        raise SystemExit(1)
    say(f"{count}, hold")
    unknown = sum(month.name not in manifests for month in checked.months)
    if anchor is None:
        say("that nobody rewrote the whole archive, an anchor shows: --anchor FILE")
    elif unknown:
        say(
            f"the manifests of {unknown:,} months were not compared: "
            f"{anchor} has no event audit.partition_dropped of them"
        )


def _check(
    connection: Connection,
    dsn: str,
    anchor: Path | None,
    chains: list[Chain],
    jobs: int,
    report: Report,
    under_policies: bool,
) -> None:
    evidence = gather(connection)
    log = read_log(connection, evidence)
    for chain in chains:
        if chain.node is None:
            for problem in check_log(connection, log):
                report.problem(*problem)
            for missing in sorted(
                set(range(min(chain.seals, default=1), max(chain.seals, default=0))) - chain.seals.keys()
            ):
                report.problem(f"seal {missing}", "it is missing")
        else:
            for problem in check_node(connection, chain.node):
                report.problem(*problem)
    if anchor is not None:
        for problem in _against(connection, anchor):
            report.problem(*problem)
    of_nodes = {chain.node for chain in chains}
    for node, text in changed_nodes(connection, _node_states(connection)):
        if node in of_nodes:
            report.problem(f"node {node}", text)
    with _progress(chains) as advance:
        for chain, found in against_events(dsn, chains, jobs, log, advance, through_policies=under_policies):
            if found.is_warning:
                report.note("warning", *chain.named(found))
            else:
                report.problem(*chain.named(found))
    for kind, subject, text in evidence.listed:
        report.note(kind, subject, text)


@contextmanager
def _progress(chains: list[Chain]) -> Iterator[Callable[[int], None]]:
    """How far it is, on a terminal; when it is stopped, how to continue."""
    total = sum(sum(chain.seals.values()) for chain in chains)
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # (A bar of nothing would leave an empty line.)
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not total) as progress:
        task = progress.add_task("", total=total)
        try:
            yield lambda events: progress.advance(task, events)
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
            yield f"seal {number}", f"it was rewritten: {anchor} has the hash {known.hash}"
