"""The table of what came of it, and the details that do not fit into one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.adoption.drive import Step
from tests.adoption.log import Event

ROW = "{:<26}{:<36}{:<36}"


@dataclass
class Result:
    """What came of one application.

    :param leaks: the secrets in the log: where the application keeps each, and where the log has it.
    :param leaks_with_rows: those in the proposal or the log, when an application in use is tracked and its rows are recorded.
    :param operations: what was done to the database; None: it held, else what was wrong.
    """

    name: str
    version: str = "?"
    tables: int = 0
    tracked: int = 0
    written: int = 0
    wanted: int = 0
    leaks: dict[str, list[str]] = field(default_factory=dict)
    never_written: Sequence[str] = ()
    leaks_with_rows: Sequence[str] = ()
    steps: list[Step] = field(default_factory=list)
    operations: dict[str, str | None] = field(default_factory=dict)
    broken: str | None = None

    @property
    def events(self) -> list[Event]:
        return [event for step in self.steps for event in step.events]

    @property
    def errors(self) -> list[str]:
        """Why it is not what it should be."""
        failed = [f"{step.name}: {step.error}" for step in self.steps if step.error]
        failed += [f"{name}: {error}" for name, error in self.operations.items() if error]
        failed += [f"secret in the log: {name}" for name in self.leaks]
        failed += [f"secret in the log, or the proposal, with its rows: {name}" for name in self.leaks_with_rows]
        if self.written < self.wanted:
            failed.append(f"only {self.written} secrets were written")
        return failed + ([self.broken] if self.broken else [])


def table(results: Sequence[Result]) -> str:
    """At most 100 columns wide."""
    rows = [("", *(f"{result.name} {result.version}" for result in results))]
    rows += [(name, *(cell(result) for result in results)) for name, cell in CELLS.items()]
    operations = list(dict.fromkeys(name for result in results for name in result.operations))
    rows += [(name, *(_verdict(result, name) for result in results)) for name in operations]
    return "\n".join(ROW.format(*row, *[""] * (3 - len(row))).rstrip() for row in rows)


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}"


CELLS = {
    "tables, tracked": lambda result: _share(result.tracked, result.tables),
    "steps that worked": lambda result: _share(sum(not step.error for step in result.steps), len(result.steps)),
    "secrets in the log": lambda result: _share(len(result.leaks), result.written),
    "the same, adopted in use": lambda result: _share(len(result.leaks_with_rows), result.written),
    "actions rightly named": lambda result: _share(
        sum(len(step.right) for step in result.steps), sum(len(step.expected) for step in result.steps)
    ),
    "other events": lambda result: str(sum(len(step.unexpected) for step in result.steps)),
    "labels readable": lambda result: _share(sum(event.readable for event in result.events), len(result.events)),
    "with an organization": lambda result: _share(
        sum(event.org is not None for event in result.events), len(result.events)
    ),
}


def _verdict(result: Result, name: str) -> str:
    return "not tried" if name not in result.operations else "no" if result.operations[name] else "yes"


def details(result: Result) -> str:
    """Each secret that was found, each action that was not as expected, each label that says nothing."""
    parts = {
        "Wrong": result.errors,
        "Secrets in the log": [f"{name}: {'; '.join(where)}" for name, where in result.leaks.items()],
        "Sent, but not stored as they were": result.never_written,
        "Actions that are missing": [
            f"{step.name}: no {', '.join(step.missing)}; there is {', '.join(event.action for event in step.events) or 'nothing'}"
            for step in result.steps
            if step.missing
        ],
        "Other events": [
            f"{step.name}: {', '.join(f'{event.action} ({event.table})' for event in step.unexpected)}"
            for step in result.steps
            if step.unexpected
        ],
        "Labels that say nothing": sorted(
            {f"{event.action} ({event.table}): {event.label}" for event in result.events if not event.readable}
        ),
        "Without an organization": sorted({event.table for event in result.events if event.org is None}),
    }
    lines = [f"# {result.name} {result.version}"]
    for title, entries in parts.items():
        lines += ["", f"## {title}", *(f"- {entry}" for entry in entries or ["none"])]
    return "\n".join(lines)
