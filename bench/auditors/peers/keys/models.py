"""The tables' models; which rows of an update are kept is in the settings."""

import pghistory
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

IGNORED = ["spend", "last_used_at", "updated_at"]


def trackers() -> list[pghistory.RowEvent]:
    """A trigger for each operation, as django-pghistory makes them, and for update also one that keeps the old row."""
    events = [pghistory.InsertEvent(), pghistory.UpdateEvent(), pghistory.DeleteEvent()]
    if settings.KEEPS_BOTH_ROWS:
        events.append(pghistory.UpdateEvent("update_before", row=pghistory.Old))
    return events


class CidrField(models.Field):
    """Postgres' type of networks, which Django does not know."""

    def db_type(self, connection: object) -> str:
        return "cidr"


@pghistory.track(*trackers(), exclude=IGNORED)
class ApiKey(models.Model):
    """As nemo.api_key."""

    id = models.UUIDField(primary_key=True)
    org_id = models.UUIDField()
    team_id = models.UUIDField(null=True)
    name = models.TextField()
    key_prefix = models.TextField()
    key_hash = models.TextField()
    allowed_models = ArrayField(models.TextField())
    allowed_endpoints = ArrayField(models.TextField())
    ip_allowlist = ArrayField(CidrField())
    rpm_limit = models.IntegerField(null=True)
    tpm_limit = models.IntegerField(null=True)
    max_budget = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    spend = models.DecimalField(max_digits=20, decimal_places=6)
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    disabled = models.BooleanField()
    metadata = models.JSONField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "api_key"
        managed = False


class WideColumns(models.Model):
    """The columns of `wide` that are numbered."""

    class Meta:
        abstract = True


for i in range(1, 29):
    WideColumns.add_to_class(f"text_{i}", models.TextField())
    WideColumns.add_to_class(f"number_{i}", models.IntegerField())


@pghistory.track(*trackers())
class Wide(WideColumns):
    """60 columns and 8 KB of JSON."""

    id = models.UUIDField(primary_key=True)
    org_id = models.UUIDField()
    name = models.TextField()
    document = models.JSONField()

    class Meta:
        db_table = "wide"
        managed = False


@pghistory.track(*trackers())
class Narrow(models.Model):
    """Four columns."""

    id = models.UUIDField(primary_key=True)
    org_id = models.UUIDField()
    name = models.TextField()
    rpm_limit = models.IntegerField()

    class Meta:
        db_table = "narrow"
        managed = False
