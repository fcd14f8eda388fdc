"""Who audits: each in a file of its own, with its SQL beside it."""

from auditors import (
    django_pghistory,
    empty,
    floor,
    generic,
    pgtrail,
    postgresql_audit,
    unaudited,
)
from auditors.auditor import Auditor

__all__ = ["AUDITORS", "Auditor"]

AUDITORS: dict[str, Auditor] = {
    auditor.name: auditor
    for auditor in (
        unaudited.AUDITOR,
        empty.AUDITOR,
        floor.AUDITOR,
        pgtrail.AUDITOR,
        pgtrail.BULK,
        pgtrail.HOT,
        django_pghistory.AFTER,
        django_pghistory.BOTH,
        postgresql_audit.AUDITOR,
        generic.AUDITOR,
    )
}
"""In the order of the reports; first those that the others are compared with."""
