"""How much Spark reads for what one organization did."""

from collections.abc import Collection
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from tests.spark.damage import event_files, large_file, with_others_broken
from tests.spark.history import MONTH, ORG, Live
from tests.spark.report import Report
from tests.spark.session import read

from pgtrail.archive.reading import partitions_of

IN_MONTH, OF_ORG = f"month = '{MONTH}'", f"org_id = '{ORG}'"


def prove_pruning(spark: SparkSession, names: dict[str, DataFrame], folder: Path, live: Live, report: Report) -> None:
    """By the plan, by what Spark counts, and by files that no query could read."""
    place, events = folder / "archive", names["events"]
    files = event_files(place)
    of_month = [file for file in files if file.parent.parent.name == f"month={MONTH}"]

    def ask(name: str, query: DataFrame, ids: Collection[int], opened: int, filters: tuple[str, ...]) -> None:
        found = read(query)
        is_same = sorted(row.id for row in found.rows) == sorted(ids)
        is_pruned = found.files == opened and all(f"({column}#" in found.partition_filters for column in filters)
        report.say(
            f"  {name}",
            f"{found.files:>2} of {len(files)} files, {found.decoded:>5,} rows, for {len(ids):,} events",
            holds=is_same and is_pruned,
        )

    report.title("what is read for one organization")
    ask("in all months", events.where(OF_ORG), live.of_org, len(files), ())
    ask("by month", events.where(IN_MONTH).where(OF_ORG), live.of_org_in_month, len(of_month), ("month",))
    ask("by month and part", names["acme"], live.of_org_in_month, 1, ("month", "part"))
    (kept,) = names["acme"].selectExpr("input_file_name() as name").distinct().collect()
    broken = with_others_broken(place, folder / "broken", Path(kept.name.removeprefix("file://")))
    month = spark.read.schema(events.schema).parquet(str(broken)).where(IN_MONTH).where(OF_ORG)
    ask(
        "other files broken", month.where(partitions_of(str(broken), [ORG])), live.of_org_in_month, 1, ("month", "part")
    )
    has_failed = _fails(month)
    report.say("  …, by month", "fails, as it must" if has_failed else "does not fail", holds=has_failed)
    _row_groups(spark, place, folder / "large", report)


def _row_groups(spark: SparkSession, place: Path, folder: Path, report: Report) -> None:
    """In a file as large as those of a real archive."""
    file, rows, groups = large_file(place, folder)
    events = spark.read.parquet(str(file))
    some = events.where("org_id = 'acme 7'")
    found = read(some)
    report.say(
        "  in a large file",
        f"{found.decoded:,} of {rows:,} rows, of {groups} groups, for {len(found.rows):,} events",
        holds=len(found.rows) > 0 and found.decoded < rows / 4,
    )


def _fails(query: DataFrame) -> bool:
    try:
        query.collect()
    except (PySparkException, Py4JJavaError):
        return True
    return False
