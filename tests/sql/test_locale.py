"""Names are compared as Postgres does, whatever the locale: in Turkish lower('PIN') is `pın`, and `I` is no `i`."""

import re

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.adopting import suggested
from tests.conftest import Database

from pgtrail.install import migrate
from pgtrail.project_files import project_files

FOLDS = re.compile(r"(?<![a-z_])(?:lower|upper|initcap)\(|~~?\*|\bilike\b")
IN_THE_READERS_LOCALE = {"matches_filter"}
"""Look for what a person has typed."""


@pytest.fixture(scope="module")
def turkish(server):
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        try:
            connection.execute(
                "create database turkish template template0 encoding 'UTF8' locale_provider icu icu_locale 'tr-TR' locale 'C.utf8'"
            )
        except psycopg.errors.FeatureNotSupported:
            # (It was built so: nothing to install would change it.)
            pytest.skip("this server has no ICU")
    migrate(server.dsn("turkish"))
    database = Database(server, "turkish")
    yield database
    database.close()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("drop database turkish with (force)")


def test_secrets_are_found_by_their_names_in_every_locale_and_under_every_setting(turkish):
    su = turkish.connect()
    assert su.execute("select lower('PIN')").fetchone() == ("p\u0131n",)
    su.execute("create table public.key (id int primary key, settings jsonb, status text)")
    su.execute("select audit.track('public.key', secret => '{settings.**.?}')")
    su.execute("select audit.rule('public.key', 'key.invited', 'key', 'insert', $$NEW.STATUS = 'INVITED'$$)")
    su.execute('alter table public.key add column "API_KEY" text, add column "PIN" int, add column note text')
    members = {
        "PIN": "S3CRET",
        "AUTHORIZATION": "S3CRET",
        "SIGNATURE": "S3CRET",
        "CLIENT_SECRET_ID": "S3CRET",
        "mode": "on",
    }
    for number, strings in enumerate(("on", "off"), 1):
        su.execute(f"set standard_conforming_strings = {strings}")
        su.execute(
            "insert into public.key values (%s, %s, 'INVITED', 'S3CRET', 4711, 'x')",
            [number, Jsonb(members | {"account_key": "S3CRET"})],
        )
        su.execute("update public.key set note = 'y' where id = %s", [number])
        su.execute("delete from public.key where id = %s", [number])
    su.execute("set standard_conforming_strings = on")
    rows = su.execute("select action, after from audit.event where table_name = 'public.key' order by id").fetchall()
    assert [action for action, _ in rows] == ["key.invited", "key.updated", "key.deleted"] * 2
    assert rows[0][1]["settings"] == dict.fromkeys([*members, "account_key"], "[redacted]") | {"mode": "on"}
    assert "S3CRET" not in str(su.execute("select array_agg(event::text) from audit.event as event").fetchone())
    assert "4711" not in str(su.execute("select array_agg(event::text) from audit.event as event").fetchone())


def test_what_is_proposed_does_not_depend_on_the_locale(turkish, su):
    proposed = []
    for connection in (turkish.connect(), su):
        connection.execute("create schema shop")
        connection.execute(
            'create table shop."INVITATION" ("ID" int primary key, "TITLE" text, "PIN" int, "API_KEY_ID" text, "IS_ACTIVE" boolean, '
            "\"STATUS\" text check (\"STATUS\" in ('INVITED', 'ACCEPTED')))"
        )
        text = suggested(connection, "shop")
        proposed.append(text)
        connection.execute(text)
        connection.execute("select audit.recompile(); select audit.untrack('shop.\"INVITATION\"')")
    assert proposed[0] == proposed[1]
    assert "select audit.track('shop.\"INVITATION\"', 'invite'" in proposed[0]


def test_a_name_of_any_collation_is_judged(turkish):
    su = turkish.connect()
    su.execute("create collation blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
    for collation in ("blind", '"C"', '"tr-x-icu"'):
        for function in ("looks_secret", "looks_secret_within", "is_name_of_secret", "may_name_secret"):
            found = su.execute(f"select audit_internal.{function}('API_KEY' collate {collation})").fetchone()
            assert found == (True,), (function, collation)
        judged = f"select audit_internal.text_without_secrets('PASSWORD=x' collate {collation}), audit_internal.may_hold_secret_value('AKIA' collate {collation})"
        assert su.execute(judged).fetchone() == ("PASSWORD=[redacted]", True)
        judged = f"select audit_internal.value_looks_secret('sk-0123456789abcdef' collate {collation}), audit_internal.value_looks_random('x' collate {collation})"
        assert su.execute(judged).fetchone() == (True, False)


def folded_in_the_databases_locale(source):
    """What is made lower or upper case, or compared regardless of it, without a collation of its own."""
    source = re.sub(r"--[^\n]*", "", source)
    for found in FOLDS.finditer(source):
        if not found.group().endswith("("):
            if not re.search(r'collate "C"\)?\s*$', source[: found.start()]):
                yield source[found.start() - 40 : found.end() + 20]
            continue
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end += 1
        if not re.search(r'collate "C"\s*\)$', source[found.end() : end]):
            yield source[found.start() : end]


def test_no_function_folds_the_case_of_a_name_as_the_locale_has_it(su):
    sources = su.execute(
        "select proname, prosrc from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[])"
    ).fetchall()
    assert sum(len(FOLDS.findall(source)) for _, source in sources) > 20
    sources += [(file.name, file.read_text()) for file in (project_files("sql") / "adopt").glob("*/*.sql")]
    found = {(name, text) for name, source in sources for text in folded_in_the_databases_locale(source)}
    assert {(name, text) for name, text in found if name not in IN_THE_READERS_LOCALE} == set()
