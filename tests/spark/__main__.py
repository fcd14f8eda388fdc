"""Archive months of a log, read them with Spark as one table, and compare them with what the live views said.

Exit status 1 if anything is other than it was, if a query reads files that it need not, or if damage is not found.

Example:
  python -m tests.spark
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from tests.documents import PROJECT
from tests.spark import comparing, damage, history
from tests.spark.java import java_problem
from tests.spark.pruning import prove_pruning
from tests.spark.report import Report
from tests.spark.session import spark_session, spark_version

LOG = PROJECT / "build" / "spark.log"


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if problem := java_problem():
        print(problem, file=sys.stderr)
        return 2
    report = Report()
    with tempfile.TemporaryDirectory(prefix="pgtrail-spark-") as name:
        folder = Path(name)
        # (The server's user goes through it.)
        folder.chmod(0o755)
        with history.database(folder) as connection:
            live = history.read_live(connection)
            history.archive(connection, folder / "archive", folder / "temp")
        with spark_session(folder / "spark", LOG) as spark:
            report.say("read by", spark_version(spark))
            _prove(spark, folder, live, report)
    return report.finish(LOG)


def _prove(spark: SparkSession, folder: Path, live: history.Live, report: Report) -> None:
    place = folder / "archive"
    names = comparing.as_documented(spark, place)
    _check_table(names["events"], place, report)
    for each in comparing.compare(names, live):
        report.say(each.kind, str(each), holds=each.is_same)
    in_athena = comparing.compare_rows("Athena's table", comparing.as_in_athena(spark, place), live)
    report.say("as Athena's table", str(in_athena), holds=in_athena.is_same)
    prove_pruning(spark, names, folder, live, report)
    report.title("the same of archives that are damaged")
    _check_is_found("a file less", damage.without_a_file, spark, folder, live, report)
    _check_is_found("a value changed", damage.with_a_value_changed, spark, folder, live, report)


def _check_table(events: DataFrame, place: Path, report: Report) -> None:
    """One table of all files of events, and of no others."""
    files = damage.event_files(place)
    others = [file for file in place.rglob("*") if file.is_file() and file not in files]
    report.say(
        "files",
        f"{len(files)} of events, of {history.MONTHS} months; {len(others)} others ignored",
        holds={f"file://{file}" for file in files} == set(events.inputFiles()),
    )
    report.say(
        "columns",
        f"{len(comparing.COLUMNS)}, month and part",
        holds=events.columns == [*comparing.COLUMNS, "month", "part"],
    )


def _check_is_found(
    name: str,
    damaged: Callable[[Path, Path], Path],
    spark: SparkSession,
    folder: Path,
    live: history.Live,
    report: Report,
) -> None:
    """That what was compared differs, were the archive another."""
    copy = damaged(folder / "archive", folder / name.replace(" ", "_"))
    rows, counts, fields = comparing.compare(comparing.as_documented(spark, copy), live)
    missing = [each.live - each.equal for each in (rows, counts, fields)]
    report.say(
        f"  {name}",
        f"found: {missing[0]:,} rows, {missing[1]:,} counts, {missing[2]:,} fields differ",
        holds=missing[0] > 0 and missing[2] > 0,
    )


if __name__ == "__main__":
    sys.exit(main())
