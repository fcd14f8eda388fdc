"""Has django-pghistory audit the tables of a schema; runs in the peers' environment.

Usage: setup_pghistory.py DSN SCHEMA after|both
"""

import sys

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict


def configure(dsn: str, schema: str, rows: str) -> None:
    """Django, with one database whose search_path is the schema."""
    given = conninfo_to_dict(dsn)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": given["dbname"],
                "USER": given["user"],
                "HOST": given["host"],
                "PORT": given["port"],
                "OPTIONS": {"options": f"-c search_path={schema}"},
            }
        },
        INSTALLED_APPS=["pgtrigger", "pghistory", "keys"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        KEEPS_BOTH_ROWS=rows == "both",
    )
    django.setup()


def install() -> None:
    """Its own tables, those of the events, the triggers."""
    import pghistory.core
    import pgtrigger
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", "pghistory", verbosity=0)
    with connection.schema_editor() as editor:
        for model in pghistory.core.event_models():
            if model._meta.app_label == "keys":
                editor.create_model(model)
    pgtrigger.install()


if __name__ == "__main__":
    configure(*sys.argv[1:])
    install()
