"""Chains of seals, this database's and on a hub each node's, recomputed by several connections at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NoReturn

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pgtrail_cli.connection import Connection, open_connection
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.render import console

Problem = tuple[str, str]
"""Subject and what is wrong with it."""
SLICE_EVENTS = 20_000
"""So many events, or so many seals, are checked between two looks at the clock."""
SLICE_SEALS = 200


@dataclass(frozen=True, slots=True)
class Chain:
    """Seals of this database (node: None), or of a node as they arrived.

    :param seals: how many events each has, by number.
    """

    node: str | None
    seals: dict[int, int]

    @property
    def of(self) -> str:
        """What its subjects begin with."""
        return "" if self.node is None else f"node {self.node} "

    def named(self, number: int, event_id: int | None, problem: str) -> Problem:
        """What is wrong with one of its seals or events."""
        if event_id is None:
            return f"{self.of}seal {number}", problem
        return (
            f"event {event_id if self.node is None else f'{self.node}:{event_id}'}",
            f"{problem} ({self.of}seal {number})",
        )


def against_events(dsn: str, chains: list[Chain], jobs: int) -> Iterator[Problem]:
    """What does not match in the seals of these chains, in their order."""
    slices = [(chain, numbers) for chain in chains for numbers in _slices(chain.seals)]
    if not slices:
        # (A bar of nothing would leave an empty line.)
        return
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        ExitStack() as stack,
        ThreadPoolExecutor(jobs) as pool,
        Progress(*columns, console=console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("", total=sum(sum(chain.seals.values()) for chain in chains))
        free: SimpleQueue[Connection] = SimpleQueue()
        for _ in range(min(jobs, len(slices))):
            free.put(stack.enter_context(open_connection(dsn)))

        def check(part: tuple[Chain, list[int]]) -> list[Problem]:
            chain, numbers = part
            connection = free.get()
            query = "check_seals" if chain.node is None else "check_node_seals"
            try:
                rows = connection.execute(QUERIES[query], {"numbers": numbers, "node": chain.node}).fetchall()
            finally:
                free.put(connection)
            return [chain.named(*row) for row in rows]

        done = 0
        try:
            for (chain, numbers), problems in zip(slices, pool.map(check, slices), strict=True):
                yield from problems
                progress.advance(task, sum(chain.seals[number] for number in numbers))
                done = numbers[-1] if chain.node is None else done
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            _stopped(done)


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
