"""A row trigger with an empty function: what Postgres takes to call one, before anything is recorded."""

from auditors.auditor import Auditor, run_file

AUDITOR = Auditor("empty trigger", "empty", (), lambda dsn: run_file(dsn, "empty.sql"))
