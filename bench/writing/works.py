"""The works: which statement, on which table, by how many clients."""

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

FOLDER = Path(__file__).parent
ROWS = {"api_key": 20_000, "wide": 2_000, "narrow": 20_000}
"""How many rows a table has when its rows are written to one by one."""
BULK_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Script:
    """A transaction of one statement on one row, for pgbench and for psycopg.

    :param file: in this folder.
    :param consumes: whether a row serves for one transaction only.
    """

    operation: str
    file: str
    table: str
    consumes: bool = False

    @property
    def path(self) -> Path:
        """For pgbench."""
        return FOLDER / self.file


@dataclass(frozen=True, slots=True)
class Clients:
    """Transactions a second."""

    script: Script
    clients: int

    @property
    def name(self) -> str:
        return f"{self.script.operation}, {self.clients} {'client' if self.clients == 1 else 'clients'}"


@dataclass(frozen=True, slots=True)
class Bulk:
    """Rows a second of one statement on BULK_ROWS rows of api_key.

    :param filled: whether the rows are there before.
    """

    name: str
    statement: str
    filled: bool


@dataclass(frozen=True, slots=True)
class Single:
    """What one transaction takes of one client's server process, of the WAL and of the log's tables.

    Several figures, named like `update, processor time`.
    """

    script: Script

    @property
    def name(self) -> str:
        return f"{self.script.operation}, each"


Work = Clients | Bulk | Single

UPDATE = Script("update", "update.sql", "api_key")
INSERT = Script("insert", "insert.sql", "api_key")
DELETE = Script("delete", "delete.sql", "api_key", consumes=True)
IGNORED = Script("update of ignored columns", "ignored.sql", "api_key")
WIDE = Script("wide update", "wide.sql", "wide")
NARROW = Script("narrow update", "narrow.sql", "narrow")

WORKS: tuple[Work, ...] = (
    *(Clients(script, clients) for script in (UPDATE, INSERT, DELETE) for clients in (1, 8, 32)),
    *(Clients(script, 8) for script in (IGNORED, WIDE, NARROW)),
    Bulk("bulk insert", "insert into api_key select * from source.api_key where id <= %(last)s", filled=False),
    Bulk("bulk update", "update api_key set rpm_limit = rpm_limit + 1", filled=True),
    Bulk("bulk delete", "delete from api_key", filled=True),
    Bulk("copy", "copy api_key from %(file)s", filled=False),
    *(Single(script) for script in (UPDATE, INSERT, DELETE, IGNORED, WIDE, NARROW)),
)


def chosen_works(patterns: list[str]) -> list[Work]:
    """Those whose names one of the patterns of a shell fits; all without a pattern.

    :raises SystemExit: a pattern fits none.
    """
    for pattern in patterns:
        if not any(fnmatch(work.name, pattern) for work in WORKS):
            raise SystemExit(f"no work is named {pattern}; there are: {'; '.join(work.name for work in WORKS)}")
    return [work for work in WORKS if not patterns or any(fnmatch(work.name, pattern) for pattern in patterns)]
