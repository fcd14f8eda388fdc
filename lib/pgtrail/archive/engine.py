"""DuckDB, with a limit on its memory and the macros of duckdb.sql."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgtrail.errors import PgtrailError
from pgtrail.queries import load

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    Engine = DuckDBPyConnection
else:
    Engine = Any

_STATEMENTS = load("pgtrail.archive", "duckdb.sql")
_SPOOLED, _MATCHING = (f"({_STATEMENTS[name]})" for name in ("spooled", "matching"))
QUERIES = {
    name: query.replace("{spooled}", _SPOOLED).replace("{matching}", _MATCHING) for name, query in _STATEMENTS.items()
}
MEMORY = "2GB"
"""What does not fit goes to disk."""
ROWS_AT_ONCE = 4096
MIN_LINE_BYTES = 8 << 20
"""Bytes that a row of a CSV may have, at least."""


@contextmanager
def engine(folder: Path, *, jobs: int = 0) -> Iterator[Engine]:
    """A database of its own.

    :param folder: where it puts what does not fit into memory.
    :param jobs: threads; 0: one for each processor.
    :raises PgtrailError: the extra is not installed, or DuckDB failed.
    """
    duckdb = _duckdb()
    config = {
        "memory_limit": MEMORY,
        "temp_directory": str(folder / "overflow"),
        "threads": str(jobs or os.cpu_count() or 1),
        # Files may come from others: they must not make DuckDB download or load an extension.
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = duckdb.connect(str(folder / "work.duckdb"), config=config)
    try:
        connection.execute(QUERIES["macros"])
        yield connection
    except duckdb.Error as error:
        raise PgtrailError(f"DuckDB: {str(error).strip().splitlines()[0]}", _hint(error)) from error
    finally:
        connection.close()


def run(engine: Engine, query: str, parameters: Mapping[str, Any] | None = None, **given: Any) -> Engine:
    """Run a query.

    :param given: the value of its variable. (DuckDB binds parameters too late to skip files by them.)
    """
    if given:
        engine.execute(QUERIES["give"], {"given": given})
    return engine.execute(QUERIES[query], dict(parameters or {}))


def rows(engine: Engine, query: str, **given: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, never all of them in memory. The engine does nothing else meanwhile."""
    found = run(engine, query, **given)
    while some := found.fetchmany(ROWS_AT_ONCE):
        yield from some


def named_rows(engine: Engine, query: str, **given: Any) -> Iterator[dict[str, Any]]:
    """The rows of a query, by the names of their columns."""
    found = run(engine, query, **given)
    names = [column[0] for column in found.description or ()]
    while some := found.fetchmany(ROWS_AT_ONCE):
        for row in some:
            yield dict(zip(names, row, strict=True))


def spooled(file: Path, columns: Mapping[str, str], max_row_bytes: int) -> dict[str, Any]:
    """A CSV that Postgres wrote, as the queries that read one are given it.

    :param columns: their types by name.
    :param max_row_bytes: bytes of its longest row.
    """
    line = max(max_row_bytes, MIN_LINE_BYTES)
    return {"spool": str(file), "columns": dict(columns), "max_row_bytes": line, "buffer": 2 * line}


def _hint(error: Exception) -> str:
    text = str(error).lower()
    if "space" in text or "memory" in text:
        return "free some space, or use another folder: --temp"
    return "pgtrail verify --archive says whether the files are whole"


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise PgtrailError("archives need an extra", "pip install 'pgtrail[archive]'") from error
    return duckdb
