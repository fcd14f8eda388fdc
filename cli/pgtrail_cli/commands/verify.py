"""``pgtrail verify``: whether the chains of seals hold."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from pgtrail_cli.anchor import Anchor, find_anchors
from pgtrail_cli.chains import Chain, Problem, against_events
from pgtrail_cli.cold.files import check_place
from pgtrail_cli.connection import Connection, dsn_option, open_connection
from pgtrail_cli.errors import NotUnderstood
from pgtrail_cli.filters import QUERIES, archive_option
from pgtrail_cli.nodes import changed_nodes
from pgtrail_cli.render import printable
from pgtrail_cli.verify.integrity import changed_objects


@click.command()
@click.option(
    "--anchor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare the chain with the seals in this file: what a SIEM received, or pgtrail seal --json wrote.",
)
@click.option("--from", "first", type=click.IntRange(min=1), default=1, help="Go on with this seal.")
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
    """Recompute every seal from the events as they are now, and say what does not match.

    A superuser could rewrite events and the whole chain with them: that shows against an anchor, the seals as a SIEM
    received them (pgtrail destination add --seals). Stopped, it says where to go on. Exit status 1 if anything does
    not match, 2 if there is no such seal to go on with.

    On a hub the seals of each node are recomputed too, from its events as they are here; a node that has rewritten
    its history since is named.

    With --archive it checks the months that pgtrail archive moved there, and the chain over them, without a database.

    \b
    Example:
      pgtrail verify --anchor seals.jsonl
      pgtrail verify --archive /mnt/archive
    """
    if archive is not None:
        if first > 1:
            raise click.UsageError("--archive and --from exclude each other.")
        _verify_archive(archive, anchor, jobs, as_json)
        return
    with open_connection(dsn) as connection:
        last, waiting = connection.execute(QUERIES["last_seal"]).fetchone() or (0, 0)
        chains = list(_chains(connection, first, only))
        problems = 0
        for subject, problem in _problems(connection, dsn, anchor, chains, jobs):
            problems += 1
            _say(subject, problem, as_json)
    count = "; ".join(
        f"{chain.of}{sum(chain.seals.values()):,} events in {len(chain.seals):,} seals"
        f"{f', from seal {first} on' if first > 1 and chain.node is None else ''}"
        for chain in chains
    )
    if problems:
        click.echo(f"pgtrail: {problems:,} problems in {count}", err=True)
        raise SystemExit(1)
    # Only now: what is missing at the end of a chain that was cut off is a problem, and has been named.
    if first > 1 and not any(first in chain.seals for chain in chains if chain.node is None):
        raise NotUnderstood(f"there is no seal {first} to go on with", f"the last is {last}")
    click.echo(f"pgtrail: {count} hold; {waiting:,} events wait for the next seal (the last is {last})", err=True)
    if anchor is None:
        click.echo("pgtrail: that nobody rewrote the whole chain, an anchor shows: --anchor FILE", err=True)


def _chains(connection: Connection, first: int, only: tuple[str, ...]) -> Iterator[Chain]:
    if not only:
        yield Chain(None, dict(connection.execute(QUERIES["seals"], {"first": first}).fetchall()))
    states = {row[0]: row[1] for row in connection.execute(QUERIES["node_states"])}
    for unknown in set(only) - states.keys():
        raise NotUnderstood(f'there is no node "{unknown}"', f"the nodes are: {', '.join(states) or 'none'}")
    for name, state in states.items():
        if state == "copying" and (not only or name in only):
            click.echo(f"pgtrail: {name} is still being copied, and not checked", err=True)
        elif not only or name in only:
            yield Chain(name, dict(connection.execute(QUERIES["node_seals"], {"node": name}).fetchall()))


def _verify_archive(where: str, anchor: Path | None, jobs: int, as_json: bool) -> None:
    checked = check_place(where, jobs)
    problems = 0
    for subject, problem in checked.problems:
        problems += 1
        _say(subject, problem, as_json)
    anchors = _read_anchors(anchor) if anchor is not None else {}
    for number, (digest, _) in sorted(checked.chain.items()):
        if number in anchors and anchors[number].hash != digest:
            problems += 1
            _say(f"seal {number}", f"it was rewritten: {anchor} has the hash {anchors[number].hash}", as_json)
    count = f"{checked.events:,} events of {checked.months:,} months, under {len(checked.chain):,} seals"
    if problems:
        click.echo(f"pgtrail: {problems:,} problems in {count}", err=True)
        raise SystemExit(1)
    click.echo(f"pgtrail: {count}, hold", err=True)
    if anchor is None:
        click.echo("pgtrail: that nobody rewrote the whole chain, an anchor shows: --anchor FILE", err=True)


def _say(subject: str, problem: str, as_json: bool) -> None:
    click.echo(printable(json.dumps({"subject": subject, "problem": problem}) if as_json else f"{subject}: {problem}"))


def _read_anchors(anchor: Path) -> dict[int, Anchor]:
    with anchor.open(encoding="utf-8", errors="replace") as lines:
        return find_anchors(lines)


def _problems(
    connection: Connection, dsn: str, anchor: Path | None, chains: list[Chain], jobs: int
) -> Iterator[Problem]:
    connection.execute("set search_path = pg_catalog, pg_temp")
    yield from changed_objects(connection)
    for chain in chains:
        if chain.node is None:
            yield from connection.execute(QUERIES["check_log"])
            for missing in sorted(
                set(range(min(chain.seals, default=1), max(chain.seals, default=0))) - chain.seals.keys()
            ):
                yield f"seal {missing}", "it is missing"
        else:
            yield from connection.execute(QUERIES["check_node"], {"node": chain.node})
    if anchor is not None:
        yield from _against(connection, anchor)
    of_nodes = {chain.node for chain in chains}
    for node, problem in changed_nodes(connection):
        if node in of_nodes:
            yield f"node {node}", problem
    yield from against_events(dsn, chains, jobs)


def _against(connection: Connection, anchor: Path) -> Iterator[Problem]:
    anchors = _read_anchors(anchor)
    present = {
        number: digest for number, digest, _ in connection.execute(QUERIES["seal_hashes"], {"numbers": list(anchors)})
    }
    for number, known in sorted(anchors.items()):
        if number not in present:
            yield f"seal {number}", f"it is missing: {anchor} has it"
        elif present[number] != known.hash:
            yield f"seal {number}", f"it was rewritten: {anchor} has the hash {known.hash}"
