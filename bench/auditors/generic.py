"""The shape that most audit triggers have: one PL/pgSQL function for all tables, which compares rows as jsonb.

It keeps the old row and the changed fields of an update, without the ignored columns, which are an argument of the
trigger; the whole row of an insert and of a delete; who, when, by which application. Its log is indexed by time, table
and action.
"""

from auditors.auditor import Auditor, run_file

AUDITOR = Auditor("generic", "generic", ("generic.log",), lambda dsn: run_file(dsn, "generic.sql"))
