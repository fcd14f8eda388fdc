"""Nobody: what the tables cost by themselves."""

from auditors.auditor import Auditor

AUDITOR = Auditor("unaudited", "unaudited", (), lambda _: None)
