"""``pgtrail seal`` and ``pgtrail verify``: the chain of seals."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pgtrail_cli.anchor import find_anchors
from pgtrail_cli.connection import Connection, dsn_option, open_connection, with_connection
from pgtrail_cli.errors import NotUnderstood
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.own_source import foreign_functions
from pgtrail_cli.render import console, printable

Problem = tuple[str, str]
"""Subject and what is wrong with it."""
SLICE_EVENTS = 20_000
"""So many events, or so many seals, are checked between two looks at the clock."""
SLICE_SEALS = 200


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Each seal as a JSON object: keep it as an anchor.")
@with_connection
def seal(connection: Connection, as_json: bool) -> None:
    """Seal the events that are not sealed yet. The worker does it every ten seconds by itself.

    \b
    Example:
      pgtrail seal --json >> /mnt/elsewhere/seals.jsonl
    """
    made = 0
    while (row := connection.execute(QUERIES["seal"]).fetchone()) is not None:
        number, events, kept = row
        made += 1
        if as_json:
            click.echo(json.dumps(kept))
        click.echo(f"pgtrail: seal {number}: {events:,} events, hash {kept['hash']}", err=True)
    if not made:
        click.echo("pgtrail: nothing to seal, or another session is sealing", err=True)


@click.command()
@click.option(
    "--anchor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare the chain with the seals in this file: what a SIEM received, or pgtrail seal --json wrote.",
)
@click.option("--from", "first", type=click.IntRange(min=1), default=1, help="Go on with this seal.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Connections that check at once."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a problem.")
@dsn_option
def verify(dsn: str, anchor: Path | None, first: int, jobs: int, as_json: bool) -> None:
    """Recompute every seal from the events as they are now, and say what does not match.

    A superuser could rewrite events and the whole chain with them: that shows against an anchor, the seals as a SIEM
    received them (pgtrail destination add --seals). Stopped, it says where to go on. Exit status 1 if anything does
    not match, 2 if there is no such seal to go on with.

    \b
    Example:
      pgtrail verify --anchor seals.jsonl
    """
    with open_connection(dsn) as connection:
        last, waiting = connection.execute(QUERIES["last_seal"]).fetchone() or (0, 0)
        seals = dict(connection.execute(QUERIES["seals"], {"first": first}).fetchall())
        problems = 0
        for subject, problem in _problems(connection, dsn, anchor, seals, jobs):
            problems += 1
            line = json.dumps({"subject": subject, "problem": problem}) if as_json else f"{subject}: {problem}"
            click.echo(printable(line))
    count = f"{sum(seals.values()):,} events in {len(seals):,} seals{f', from seal {first} on' if first > 1 else ''}"
    if problems:
        click.echo(f"pgtrail: {problems:,} problems in {count}", err=True)
        raise SystemExit(1)
    # Only now: what is missing at the end of a chain that was cut off is a problem, and has been named.
    if first > 1 and first not in seals:
        raise NotUnderstood(f"there is no seal {first} to go on with", f"the last is {last}")
    click.echo(f"pgtrail: {count} hold; {waiting:,} events wait for the next seal (the last is {last})", err=True)
    if anchor is None:
        click.echo("pgtrail: that nobody rewrote the whole chain, an anchor shows: --anchor FILE", err=True)


def _problems(
    connection: Connection, dsn: str, anchor: Path | None, seals: dict[int, int], jobs: int
) -> Iterator[Problem]:
    for name in foreign_functions(connection.execute(QUERIES["function_sources"])):
        yield f"function audit.{name}", "its source is not this program's: pgtrail migrate, and see who changed it"
    yield from connection.execute(QUERIES["check_log"])
    for missing in sorted(set(range(min(seals, default=1), max(seals, default=0))) - seals.keys()):
        yield f"seal {missing}", "it is missing"
    if anchor is not None:
        yield from _against(connection, anchor)
    yield from _against_events(dsn, seals, jobs)


def _against(connection: Connection, anchor: Path) -> Iterator[Problem]:
    with anchor.open(encoding="utf-8", errors="replace") as lines:
        anchors = find_anchors(lines)
    present = {
        number: digest for number, digest, _ in connection.execute(QUERIES["seal_hashes"], {"numbers": list(anchors)})
    }
    for number, known in sorted(anchors.items()):
        if number not in present:
            yield f"seal {number}", f"it is missing: {anchor} has it"
        elif present[number] != known.hash:
            yield f"seal {number}", f"it was rewritten: {anchor} has the hash {known.hash}"


def _against_events(dsn: str, seals: dict[int, int], jobs: int) -> Iterator[Problem]:
    slices = list(_slices(seals))
    if not slices:
        # (A bar of nothing would leave an empty line.)
        return
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        ExitStack() as stack,
        ThreadPoolExecutor(jobs) as pool,
        Progress(*columns, console=console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("", total=sum(seals.values()))
        free: SimpleQueue[Connection] = SimpleQueue()
        for _ in range(min(jobs, len(slices))):
            free.put(stack.enter_context(open_connection(dsn)))

        def check(numbers: list[int]) -> list[Problem]:
            connection = free.get()
            try:
                rows = connection.execute(QUERIES["check_seals"], {"numbers": numbers}).fetchall()
            finally:
                free.put(connection)
            return [_named(*row) for row in rows]

        done = 0
        try:
            for numbers, problems in zip(slices, pool.map(check, slices), strict=True):
                yield from problems
                progress.advance(task, sum(seals[number] for number in numbers))
                done = numbers[-1]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            _stopped(done)


def _named(number: int, event_id: int | None, problem: str) -> Problem:
    return (f"seal {number}", problem) if event_id is None else (f"event {event_id}", f"{problem} (seal {number})")


def _slices(seals: dict[int, int]) -> Iterator[list[int]]:
    """Seals in their order, in slices of about the same work."""
    numbers: list[int] = []
    events = 0
    for number, count in seals.items():
        numbers.append(number)
        events += count
        if events >= SLICE_EVENTS or len(numbers) == SLICE_SEALS:
            yield numbers
            numbers, events = [], 0
    if numbers:
        yield numbers


def _stopped(done: int) -> NoReturn:
    click.echo(f"pgtrail: stopped; go on with: pgtrail verify --from {done + 1}", err=True)
    raise SystemExit(130)
