"""django-pghistory, in two ways, both with its triggers for each row, and with a table of events for each model.

`django-pghistory` is what its guide begins with, and a trigger for deletes: the row as it is after an insert or an
update, as it was before a delete. What an update replaced is in the row's event before that, if there is one.
`django-pghistory, both rows` has a second trigger on update that keeps the row as it was too, as an event of its own.
Either leaves the ignored columns out, and compares the others in the trigger's WHEN clause. No context is attached
(that is the application's to do), so who did it is not kept.
"""

from functools import partial

from auditors.auditor import Auditor
from auditors.peers import run_in_peers


def _auditor(name: str, schema: str, rows: str) -> Auditor:
    logs = tuple(f"{schema}.keys_{model}event" for model in ("apikey", "wide", "narrow"))
    return Auditor(name, schema, (*logs, f"{schema}.pghistory_context"), partial(_install, schema, rows))


def _install(schema: str, rows: str, dsn: str) -> None:
    run_in_peers("setup_pghistory.py", dsn, schema, rows)


AFTER = _auditor("django-pghistory", "pghistory", "after")
BOTH = _auditor("django-pghistory, both rows", "pghistory_both", "both")
