"""Spark on this machine, and what a query of its reads."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

PROCESSORS = 2


@contextlib.contextmanager
def spark_session(folder: Path, log: Path) -> Iterator[SparkSession]:
    """Spark with a Hive metastore in memory.

    :param folder: for its own files.
    :param log: what it and Java say.
    """
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(folder),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.catalogImplementation": "hive",
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:pgtrail;create=true",
        "spark.driver.extraJavaOptions": "-Dderby.stream.error.file=/dev/null",
    }
    builder = SparkSession.builder.master(f"local[{PROCESSORS}]").appName("pgtrail")
    for name, value in settings.items():
        builder = builder.config(name, value)
    log.parent.mkdir(parents=True, exist_ok=True)
    with _errors_to(log):
        spark = builder.getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


@contextlib.contextmanager
def _errors_to(log: Path) -> Iterator[None]:
    """What a process that is started here writes to its standard error goes to a file."""
    kept = os.dup(2)
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def spark_version(spark: SparkSession) -> str:
    """Of Spark and of its Java."""
    java = spark.sparkContext._jvm.java.lang.System.getProperty("java.version")
    return f"Spark {spark.version}, Java {java}"


@dataclass(frozen=True, slots=True)
class Read:
    """What a query found, and what was read for it.

    :param files: how many were opened.
    :param decoded: the rows of the row groups that were read.
    :param partition_filters: by what partitions were chosen, as the plan has it.
    """

    rows: list[Any]
    files: int
    decoded: int
    partition_filters: str


def read(query: DataFrame) -> Read:
    """Run a query of one scan; its metrics are those that Spark keeps of the scan."""
    plan = query._jdf.queryExecution().executedPlan()
    rows = query.collect()
    scan = next(node for node in _nodes(plan) if node.getClass().getSimpleName() == "FileSourceScanExec")
    metrics = scan.metrics()
    files, decoded = (metrics.apply(name).value() for name in ("numFiles", "numOutputRows"))
    return Read(rows, files, decoded, scan.partitionFilters().mkString(" and "))


def _nodes(plan: Any) -> Iterator[Any]:
    yield plan
    children = plan.children()
    for number in range(children.size()):
        yield from _nodes(children.apply(number))
