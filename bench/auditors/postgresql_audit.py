"""PostgreSQL-Audit, with the triggers for each statement that it makes unless told otherwise.

It keeps the old row and the changed fields of an update, the whole row of an insert and of a delete, without excluded
columns. Its table of transactions gets no row here, as it gets none from an application that gives it no values (the
actor); so who did it is not kept. Its functions look for their tables in `public`.
"""

from auditors.auditor import Auditor
from auditors.peers import run_in_peers

AUDITOR = Auditor(
    "PostgreSQL-Audit",
    "public",
    ("public.activity", "public.transaction"),
    lambda dsn: run_in_peers("setup_postgresql_audit.py", dsn),
)
