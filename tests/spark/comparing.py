"""What Spark makes of an archive, beside what the live views said."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession, functions
from tests.documents import PROJECT, blocks
from tests.spark.history import Live

from pgtrail.archive.columns import EVENT

PAGE = PROJECT / "docs" / "operate" / "engines.md"
COLUMNS = [column.name for column in EVENT]


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows of one kind.

    :param live: how many the views had.
    :param equal: how many of these the archive has as they were.
    :param other: how many it has besides.
    """

    kind: str
    live: int
    equal: int
    other: int

    @property
    def is_same(self) -> bool:
        return (self.live, self.other) == (self.equal, 0)

    def __str__(self) -> str:
        return f"{self.equal:,} of {self.live:,} are equal" + (f", {self.other:,} are others" if self.other else "")


def as_documented(spark: SparkSession, place: Path) -> dict[str, DataFrame]:
    """What the example of the document defines, run on an archive."""
    (example,) = blocks(PAGE, "python")
    names: dict[str, Any] = {"spark": spark}
    exec(compile(example.replace("/mnt/archive", str(place)), str(PAGE), "exec"), names)  # noqa: S102
    return names


def as_in_athena(spark: SparkSession, place: Path) -> DataFrame:
    """The table that the document defines for Athena, defined with Spark's Hive on a folder."""
    (definition,) = (block for block in blocks(PAGE, "sql") if block.startswith("-- in Athena") and "external" in block)
    for statement in re.sub(r"s3://[^']+", f"file:{place}", definition).split(";"):
        if statement.strip():
            spark.sql(statement)
    return spark.table("audit_archive")


def compare(names: dict[str, DataFrame], live: Live) -> list[Compared]:
    """Rows, counts and changed fields."""
    return [
        compare_rows("rows", names["events"], live),
        _compared("counts", live.counts, names["counts"].collect()),
        _compared("changed fields", live.diffs, names["diffs"].collect()),
    ]


def compare_rows(kind: str, events: DataFrame, live: Live) -> Compared:
    """Every column of every event."""
    # (Spark gives Python times of this machine's zone.)
    rows = events.withColumn("occurred_at", functions.unix_micros("occurred_at")).select(COLUMNS).collect()
    return _compared(kind, live.rows, rows)


def _compared(kind: str, live: Iterable[Any], archived: Iterable[Any]) -> Compared:
    was, now = Counter(map(tuple, live)), Counter(map(tuple, archived))
    return Compared(kind, was.total(), (was & now).total(), (now - was).total())
