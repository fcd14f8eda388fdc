"""What `pgtrail verify` finds, for tests that ask on a connection of their own."""

from typing import Any

from pgtrail.verify.chain import Finding
from pgtrail.verify.evidence import Evidence, read_evidence
from pgtrail.verify.log import check_log, read_log
from pgtrail.verify.nodes import check_node, check_node_seal
from pgtrail.verify.seals import check_seal
from pgtrail.verify.source import Source

Problem = tuple[int | None, Any, str]
"""Seal, event (None: the seal itself) and problem; of what is beside the seals the subject is in the problem."""


def verified(connection: Any) -> tuple[list[Problem], list[Finding], Evidence]:
    """Problems, warnings, and what is listed."""
    with pinned(connection):
        evidence = read_evidence(connection)
        log = read_log(connection, evidence)
        last = connection.execute(
            "select greatest(max(number), (select number from audit.seal_head)) from audit.seal"
        ).fetchone()[0]
        found = [each for number in range(1, (last or 0) + 1) for each in check_seal(connection, number, log)]
        beside = [(None, None, f"{subject}: {problem}") for subject, problem in check_log(connection, log)]
    problems = [
        (each.number, each.event_id, each.problem)
        if each.subject is None
        else (None, None, f"{each.subject}: {each.problem}")
        for each in found
        if not each.is_warning
    ]
    return problems + beside, [each for each in found if each.is_warning], evidence


def problems(connection: Any) -> list[Problem]:
    """What does not match."""
    return verified(connection)[0]


def node_problems(connection: Any, node: str) -> list[tuple[str | None, Any, str]]:
    """What does not match of a node, on a hub: subject or None, event, problem."""
    with pinned(connection):
        evidence = read_evidence(connection)
        found = [
            each
            for number in Source(node).numbers(connection)
            for each in check_node_seal(connection, node, number, evidence)
        ]
        beside = [(subject, None, problem) for subject, problem in check_node(connection, node)]
    return [(None, each.event_id, each.problem) for each in found if not each.is_warning] + beside


class pinned:  # noqa: N801
    """The settings of a connection that verifies, for a while."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __enter__(self) -> None:
        self.was = self.connection.prepare_threshold
        self.connection.prepare_threshold = None
        self.transaction = self.connection.transaction(force_rollback=True)
        self.transaction.__enter__()
        self.connection.execute(
            "set local search_path = pg_catalog, pg_temp; set local timezone = 'UTC'; set local jit = off"
        )

    def __exit__(self, *error: Any) -> None:
        self.transaction.__exit__(*error)
        self.connection.prepare_threshold = self.was
