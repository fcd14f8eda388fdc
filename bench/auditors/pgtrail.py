"""pgtrail: nemo.api_key as the demo tracks it, and the other tables with nothing but an organization.

It keeps both rows of an update, without the ignored columns and with secrets redacted, who did it, and which columns
were changed. Foreign keys of and to api_key are dropped, as the other auditors' tables have none. BULK is the same with
updates that are recorded by statement, HOT with a trigger for updates of audited columns alone.
"""

from auditors.auditor import Auditor, run_file

AUDITOR = Auditor("pgtrail", "nemo", ("audit.event",), lambda dsn: run_file(dsn, "pgtrail.sql"))
BULK = Auditor("pgtrail, bulk", "pgtrail_bulk", ("audit.event",), lambda dsn: run_file(dsn, "pgtrail_bulk.sql"))
HOT = Auditor("pgtrail, hot", "pgtrail_hot", ("audit.event",), lambda dsn: run_file(dsn, "pgtrail_hot.sql"))
