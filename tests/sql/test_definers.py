"""Every function that runs as somebody else than its caller: as whom, and what it reads. A new one needs a decision here."""

import re

import pytest

pytestmark = pytest.mark.any_server

COMPILED = re.compile(r"^(capture|read|find|import as) ")

# What runs statements that it builds: from what.
BUILDS = {
    "compile_table": "functions out of names and settings, each quoted; not run there",
    "parse_condition": "a condition, created and rolled back",
    "assign_recorder": "grants, of a role's name",
    "drop_orphaned_functions": "drops of compiled functions",
    "observe": "the compiled observation of a tracked table, over what its reader returns",
    "drop_partition": "statements about a month of the log",
    "retention_plan": "statements about a month of the log",
    "archived_salts": "a query of a month of the log",
    "archived_parts": "a query of a month of the log",
    "make_partitions": "months of the log",
    "maintain": "months of the log",
    "next_batch": "a query that renders events by the format's function",
    "set_on_failure": "see compile_table",
    "follow_ddl": "see compile_table",
    "follow_drop": "see compile_table",
}
UNQUALIFIED = re.compile(r"\b(?:from|join|update|insert into|only|table)\s+([a-z_][a-z_0-9.]*)\s*(\()?", re.I)
# What stands after FROM and is no table: variables, transition tables, CTEs, parts of other syntax.
NO_TABLE = re.compile(r"^(pg_\w+|unnest|generate_series|jsonb?_\w+|regexp_\w+|strict|lateral|select|only|set|values|current_\w+)$")


@pytest.fixture
def functions(nemo):
    return (
        nemo.connect()
        .execute(
            "select oid, proname::text, proowner::regrole::text, prosecdef, proconfig, prosrc, proacl::text, "
            "(select rolsuper from pg_roles where pg_roles.oid = proowner) "
            "from pg_proc where pronamespace = 'audit'::regnamespace order by proname"
        )
        .fetchall()
    )


def test_no_function_runs_as_a_superuser(functions):
    assert [name for _, name, _, definer, *_, superuser in functions if definer and superuser] == []
    # That one runs as whoever alters a table, who may be a superuser: so nobody else may replace it.
    assert [row[1] for row in functions if row[-1]] == ["extend_capture"]


def test_every_definer_has_a_path_of_its_own_and_is_nobodys_to_call_unless_it_is_granted(functions):
    for _, name, owner, definer, config, _, acl, _ in functions:
        if definer:
            assert config is not None, name
            assert config[0] == "search_path=pg_catalog, pg_temp", name
            # ("=X/" would be everybody.)
            assert acl is not None, name
            assert not re.search(r"[{,]=X", acl), name
            assert owner == "audit_owner" or (COMPILED.match(name) and owner.startswith("audit_recorder")), name


def test_what_runs_as_a_recorder_is_what_is_compiled_for_a_table(functions):
    for _, name, owner, definer, *_ in functions:
        if owner.startswith("audit_recorder"):
            assert definer, name
            assert COMPILED.match(name), name


def test_no_definer_of_audit_owner_reads_anything_but_pgtrails_own_and_the_catalogue(functions):
    for _, name, owner, definer, _, source, _, _ in functions:
        if not definer or owner != "audit_owner" or COMPILED.match(name):
            continue
        text = re.sub(r"--[^\n]*", "", source)
        text = re.sub(r"'(?:[^']|'')*'", "''", text)
        common = set(re.findall(r"(?:\bwith(?:\s+recursive)?|,)\s+([a-z_]+)\s*(?:\([^)]*\))?\s+as\s+(?:not\s+)?(?:materialized\s+)?\(", text, re.I))
        variables = set(re.findall(r"^\s+([a-z_]+)\s+[a-z_.\[\]]+.*;", text, re.M)) | set(re.findall(r"\bp_[a-z_]+", text))
        for table, _ in UNQUALIFIED.findall(text):
            schema, _, relation = table.rpartition(".")
            if schema in ("audit", "pg_catalog"):
                continue
            assert not schema, f"{name} reads {table}"
            assert NO_TABLE.match(relation) or relation in common | variables or relation in ("now", "node", "event"), f"{name} reads {table}"


def test_every_definer_that_builds_statements_says_from_what(functions):
    for _, name, owner, definer, _, source, _, _ in functions:
        builds = bool(re.search(r"^\s*(return query\s+)?execute\b", source, re.M))
        if definer and owner == "audit_owner" and not COMPILED.match(name):
            assert builds <= (name in BUILDS), f"{name} builds statements: from what?"
