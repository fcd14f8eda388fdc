"""Tables and charts of what the benchmarks measured, out of bench/results.

The tables are Markdown, for cog to put into the documents: `table("writes", works=["bulk *"])`. The charts are drawn into
docs/images by this program, all of them anew; whose results are not there is left as it is.

Example:
  python bench/report.py
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import results

IMAGES = Path(__file__).parents[1] / "docs" / "images"


@dataclass(frozen=True, slots=True)
class Grid:
    """Figures by work and variant, both in the order in which they were asked for.

    :param works: the works' names, each with the unit of its figures.
    """

    works: dict[str, str]
    variants: tuple[str, ...]
    values: dict[tuple[str, str], list[float]]

    def ratio(self, work: str, variant: str, base: str | None) -> float | None:
        """The median of the ratios to the base, round by round; None where there is nothing to compare with."""
        values, others = self.values.get((work, variant)), self.values.get((work, base or ""))
        if not values or not others or len(values) != len(others) or not all(others):
            return None
        return statistics.median(a / b for a, b in zip(values, others, strict=True))


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of docs/images.

    :param file: performance-FILE.svg.
    :param source: the name of the results.
    :param works: names or patterns of a shell.
    :param variants: names or patterns; all without one.
    :param base: show, instead of the figures themselves, how they compare with this variant's.
    :param labels: for the works whose names are longer than need be under the title.
    """

    file: str
    source: str
    title: str
    works: tuple[str, ...]
    variants: tuple[str, ...] = ()
    base: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


CHARTS = (
    Chart("single-rows", "writes", "One row a transaction, 8 clients", ("update, 8 *", "insert, 8 *", "delete, 8 *")),
    Chart(
        "ignored",
        "writes",
        "Update of ignored columns only",
        ("update of ignored columns, 8 *", "update of ignored columns, processor*"),
        base="unaudited",
        labels=(
            ("update of ignored columns, 8 clients", "transactions/s"),
            ("update of ignored columns, processor time", "processor time"),
        ),
    ),
    Chart(
        "processor-time",
        "writes",
        "The server's processor time for a transaction of one row",
        ("update, processor*", "insert, processor*", "delete, processor*"),
        labels=tuple((f"{work}, processor time", work) for work in ("update", "insert", "delete")),
    ),
    # Without the unaudited table: a delete of it alone is longer than all the others' bars.
    Chart("bulk", "writes", "100,000 rows in a statement", ("bulk *", "copy"), ("[!u]*",)),
    Chart(
        "shapes",
        "writes",
        "Update of a row of 60 columns and 8 KB of JSON, and of 4 columns",
        ("wide update, 8 *", "narrow update, 8 *"),
        base="unaudited",
    ),
    Chart(
        "bytes",
        "writes",
        "What an update of a row of 400 bytes writes",
        ("update, WAL", "update, log heap", "update, log indexes"),
        labels=tuple((f"update, {part}", part) for part in ("WAL", "log heap", "log indexes")),
    ),
)


def grid(name: str, works: Sequence[str] | None = None, variants: Sequence[str] | None = None) -> Grid:
    """The figures of a benchmark's last run.

    :param works: names or patterns of a shell, in whose order the works come; all without one.
    :raises LookupError: no work or no variant fits.
    """
    _, figures = results.load(name)
    units = {figure.work: figure.unit for figure in figures}
    chosen = _chosen(tuple(units), works)
    by = {(figure.work, figure.variant): figure.values for figure in figures if figure.work in chosen}
    columns = _chosen(tuple(dict.fromkeys(variant for _, variant in by)), variants)
    if not chosen or not columns:
        raise LookupError(f"{name} has no figures of {works or 'any work'} by {variants or 'anyone'}")
    return Grid({work: units[work] for work in chosen}, columns, by)


def table(
    name: str,
    works: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    base: str | None = "unaudited",
) -> str:
    """A Markdown table: a row a work, a column a variant, in it the median (lowest–highest) and its ratio to the base."""
    figures = grid(name, works, variants)
    units = set(figures.works.values())
    header = [units.pop() if len(units) == 1 else "", *figures.variants]
    lines = [header, ["---", *("---:" for _ in figures.variants)]]
    for work, unit in figures.works.items():
        title = f"{work}: {unit}" if units else work
        lines.append([title, *(_cell(figures, work, variant, base) for variant in figures.variants)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percentiles(name: str, works: Sequence[str], strip: str = "") -> str:
    """A Markdown table of what was asked for again and again: in each cell the median and the 95th percentile.

    :param strip: what the works' names begin with and the table does not show.
    """
    figures = grid(name, works)
    lines = [["ms: median, p95", *figures.variants], ["---", *("---:" for _ in figures.variants)]]
    for work in figures.works:
        cells = []
        for variant in figures.variants:
            values = figures.values.get((work, variant), [])
            cells.append(f"{statistics.median(values):.1f}, {p95(values):.1f}" if values else "")
        lines.append([work.removeprefix(strip), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20, method="inclusive")[18] if len(values) > 1 else values[0]


def origin(name: str) -> str:
    """A line that says what and whose the figures are."""
    facts, _ = results.load(name)
    machine = facts.pop("machine")
    taken = facts.pop("taken_at")
    of_run = ", ".join(
        f"{key.replace('_', ' ')} {', '.join(f'{k} {v}' for k, v in value.items()) if isinstance(value, dict) else value}"
        for key, value in facts.items()
        # (What follows from the program is not said again.)
        if key not in ("settings", "rows", "bulk_rows", "load", "warm")
    )
    return (
        f"*{machine['processor']}, {machine['processors']} processors, {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}, {taken[:10]}; {of_run}.*"
    )


def number(value: float) -> str:
    """With three digits that mean something, and no more than need be."""
    size = abs(value)
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 0.1 else 4
    return f"{value:,.{digits}f}"


def _cell(figures: Grid, work: str, variant: str, base: str | None) -> str:
    values = figures.values.get((work, variant))
    if not values:
        return ""
    low, high = number(min(values)), number(max(values))
    text = number(statistics.median(values)) + (f" ({low}–{high})" if low != high else "")
    ratio = None if variant == base else figures.ratio(work, variant, base)
    return text if ratio is None else f"{text}<br>{number(ratio)} ×"


def _chosen(names: Sequence[str], patterns: Sequence[str] | None) -> tuple[str, ...]:
    if not patterns:
        return tuple(names)
    found = (name for pattern in patterns for name in names if fnmatchcase(name, pattern))
    return tuple(dict.fromkeys(found))


def main() -> None:
    """Draw every chart anew."""
    # Only here, so that the tables need no more than the documents' other parts.
    from charts import draw

    IMAGES.mkdir(parents=True, exist_ok=True)
    for chart in CHARTS:
        path = IMAGES / f"performance-{chart.file}.svg"
        try:
            figures = grid(chart.source, chart.works, chart.variants)
        except (FileNotFoundError, LookupError) as error:
            print(f"{path.name}: not drawn: {error}")
            continue
        draw(figures, path, chart.title, chart.base, dict(chart.labels))
        print(f"{path.name}: {len(figures.works)} works, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
