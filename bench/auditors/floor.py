"""The least that keeps both rows: a row trigger that inserts them as jsonb into a table without an index.

It says neither who nor when, ignores no column and compares nothing.
"""

from auditors.auditor import Auditor, run_file

AUDITOR = Auditor("floor", "floor", ("floor.log",), lambda dsn: run_file(dsn, "floor.sql"))
