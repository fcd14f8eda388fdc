"""Schemas of applications that we did not design, out of their own packages, each in a schema of its name."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from pgtrail_cli.demo import reference

LITELLM_LAST = "20261015000000_managed_object_end_user_id"
"""The last migration of LiteLLM that is applied, so that a later release changes no count."""

MEDUSA_VERSION = "2.21.2"
MEDUSA_MODULES = ("user", "auth", "api-key", "customer", "rbac", "settings", "sales-channel", "pricing", "promotion")
MEDUSA_FOLDER = Path(sys.prefix) / "medusa"
"""Where tests/install.sh leaves the packages."""

_ADD_SQL = re.compile(r"this\.addSql\(\s*(['\"`])((?:\\.|(?!\1).)*)\1\s*\)", re.DOTALL)

DJANGO_PROGRAM = """
import sys
from django.conf import settings
apps = ("contenttypes", "auth", "sessions", "admin", "messages", "sites")
settings.configure(
    INSTALLED_APPS=["django.contrib." + app for app in apps],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": sys.argv[1], "USER": "postgres",
        "HOST": sys.argv[2], "OPTIONS": {"options": "-c search_path=django"}}},
    SECRET_KEY="x", SITE_ID=1,
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""


def nemo(connection: psycopg.Connection[Any]) -> None:
    """The reference application's tables, untracked, with the two settings that it knows."""
    connection.execute(Path(reference.__file__).with_name("tables.sql").read_bytes())
    connection.execute(
        "with made as (insert into nemo.organization (name, slug) values ('First', 'first') returning id) "
        "insert into nemo.setting (org_id, name, value) select id, name, '1' from made, (values ('router'), ('data_policy')) as setting (name)"
    )


def litellm(connection: psycopg.Connection[Any]) -> None:
    """All of LiteLLM's migrations up to `LITELLM_LAST`."""
    package = find_spec("litellm_proxy_extras")
    assert package is not None
    assert package.origin is not None
    _in_schema(connection, "litellm")
    folder = Path(package.origin).parent / "migrations"
    for migration in sorted(folder.glob("*/migration.sql")):
        if migration.parent.name <= LITELLM_LAST:
            connection.execute(migration.read_bytes())


def django(connection: psycopg.Connection[Any]) -> None:
    """Django's own applications: auth, contenttypes, sessions, admin, sites. In a process of its own: its settings are global."""
    _in_schema(connection, "django")
    subprocess.run(
        [sys.executable, "-c", DJANGO_PROGRAM, connection.info.dbname, connection.info.host], check=True, timeout=60
    )


def medusa(connection: psycopg.Connection[Any]) -> None:
    """Medusa's modules: the statements of its migrations, in their order."""
    _in_schema(connection, "medusa")
    for module in MEDUSA_MODULES:
        files = (MEDUSA_FOLDER / module).glob("package/dist/migrations/*igration*.js")
        setup = (MEDUSA_FOLDER / module).glob("package/dist/migrations/InitialSetup*.js")
        for file in sorted({*files, *setup}, key=lambda file: re.sub(r"\D", "", file.stem)):
            up = file.read_text().split("async down()")[0]
            for _quote, statement in _ADD_SQL.findall(up):
                connection.execute(re.sub(r"\\(.)", r"\1", statement).encode())


def _in_schema(connection: psycopg.Connection[Any], name: str) -> None:
    # Postgres takes a name as an identifier where it is a string too.
    connection.execute(f"create schema {name}")
    connection.execute(f"set search_path = {name}")
