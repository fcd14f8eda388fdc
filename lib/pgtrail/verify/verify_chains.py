"""Chains of seals, this database's and on a hub each node's, recomputed by several connections at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue

from pgtrail.connection import Connection
from pgtrail.verify.chain import Finding
from pgtrail.verify.connecting import open_pinned
from pgtrail.verify.log import Log
from pgtrail.verify.nodes import check_node_seal
from pgtrail.verify.seals import check_seal

SLICE_EVENTS = 20_000
"""How many events, or seals, a task has."""
SLICE_SEALS = 200


class Stopped(Exception):
    """Verifying was stopped; it can be continued with this seal."""

    def __init__(self, first: int) -> None:
        self.first = first


@dataclass(frozen=True, slots=True)
class Chain:
    """Seals of this database (node: None), or of a node as they arrived.

    :param seals: how many events each has, by number.
    """

    node: str | None
    seals: dict[int, int]

    @property
    def prefix(self) -> str:
        """What its subjects begin with."""
        return "" if self.node is None else f"node {self.node} "

    def describe(self, found: Finding) -> tuple[str, str]:
        """Subject and problem of something about one of its seals or events."""
        if found.subject is not None:
            return found.subject, found.problem
        if found.event_id is None:
            return f"{self.prefix}seal {found.number}", found.problem
        return (
            f"event {found.event_id if self.node is None else f'{self.node}:{found.event_id}'}",
            f"{found.problem} ({self.prefix}seal {found.number})",
        )

    def check(self, connection: Connection, numbers: list[int], log: Log) -> list[Finding]:
        """What does not match in some of its seals, each in one snapshot."""
        found: list[Finding] = []
        for number in numbers:
            with connection.transaction():
                connection.execute("set transaction isolation level repeatable read, read only")
                if self.node is None:
                    found += check_seal(connection, number, log)
                else:
                    found += check_node_seal(connection, self.node, number, log.evidence)
        return found


def verify_chains(
    dsn: str, chains: list[Chain], jobs: int, log: Log, advance: Callable[[int], None], *, through_policies: bool
) -> Iterator[tuple[Chain, Finding]]:
    """What does not match in the seals of these chains, in their order.

    :param advance: called with the number of events that were checked.
    :raises Stopped: at Ctrl-C.
    """
    slices = [(chain, numbers) for chain in chains for numbers in _slices(chain.seals)]
    if not slices:
        return
    with ExitStack() as stack, ThreadPoolExecutor(jobs) as pool:
        free: SimpleQueue[Connection] = SimpleQueue()
        for _ in range(min(jobs, len(slices))):
            free.put(stack.enter_context(open_pinned(dsn, through_policies=through_policies)))

        def check(part: tuple[Chain, list[int]]) -> list[Finding]:
            chain, numbers = part
            connection = free.get()
            try:
                return chain.check(connection, numbers, log)
            finally:
                free.put(connection)

        done = 0
        try:
            for (chain, numbers), found in zip(slices, pool.map(check, slices), strict=True):
                yield from ((chain, each) for each in found)
                advance(sum(chain.seals[number] for number in numbers))
                done = numbers[-1] if chain.node is None else done
        except KeyboardInterrupt as stop:
            pool.shutdown(wait=False, cancel_futures=True)
            raise Stopped(done + 1) from stop


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
