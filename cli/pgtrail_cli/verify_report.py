"""What `pgtrail verify` prints."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from pgtrail.text import printable
from pgtrail.verify.evidence import Reported
from pgtrail_cli.streams import say


@dataclass(slots=True)
class Report:
    """Prints problems, which fail; warnings, erasures and removals, which are only listed.

    :param problems: how many there were.
    """

    as_json: bool
    problems: int = 0

    def add(self, problems: Iterable[Reported]) -> None:
        """What does not match."""
        for subject, problem in problems:
            self.problems += 1
            self._print({"subject": subject, "problem": problem}, f"{subject}: {problem}")

    def note(self, kind: str, subject: str, text: str) -> None:
        """Something that is not a problem, but should be known."""
        self._print({"subject": subject, kind: text}, f"{kind} {subject}: {text}")

    def fail_if_problems(self, checked: str) -> None:
        """Exit with status 1 if anything did not match."""
        if self.problems:
            say(f"{self.problems:,} problems in {checked}")
            raise SystemExit(1)

    def _print(self, document: dict[str, str], line: str) -> None:
        click.echo(printable(json.dumps(document) if self.as_json else line))


def rewritten(number: int, anchor: Path | None, digest: str) -> Reported:
    """A seal that is another than the anchor has."""
    return f"seal {number}", f"it was rewritten: {anchor} has the hash {digest}"
