"""What the benchmark knows of an auditor."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

FOLDER = Path(__file__).parent
TABLES = ("api_key", "wide", "narrow")


@dataclass(frozen=True, slots=True)
class Auditor:
    """One way to keep a log of three tables of the same shape.

    :param name: as in tables and charts.
    :param schema: where its tables are; the search_path of whoever writes to them.
    :param logs: what it writes to, qualified; emptied between measurements.
    :param install: has the tables audited, given a DSN; the tables are there, and empty.
    """

    name: str
    schema: str
    logs: tuple[str, ...]
    install: Callable[[str], None]


def run_file(dsn: str, name: str) -> None:
    """Run a file of SQL of this folder, in one transaction."""
    with psycopg.connect(dsn) as connection:
        connection.execute((FOLDER / name).read_bytes())
