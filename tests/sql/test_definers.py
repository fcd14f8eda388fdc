"""Every function that runs as somebody else than its caller: as whom, and what it reads. A new one needs a decision here."""

import re

import pytest

pytestmark = pytest.mark.any_server

COMPILED = re.compile(r"^(capture|read|find|label|name) ")

OWN, CATALOGUE, FUNCTIONS = "pgtrail's own tables", "the catalogue", "what it compiles"
"""What a definer reads: also which months of the log there are, and the functions that it makes."""

DEFINERS = {
    **dict.fromkeys(
        [
            "add_destination", "is_captured_by", "check_event", "check_new_node", "clear_retention", "count_unsealed",
            "erase_actor", "index_events", "grant_org", "has_nodes", "last_org", "last_received_seal", "maintain",
            "make_partitions", "next_batch", "node_state", "report_broken", "record_capture_failure", "record_baseline_end",
            "pause_destination", "place_hold", "make_node_partitions", "proof", "rebase_destination", "record_export",
            "redrive_dead_letters", "register_node", "release_hold", "release_lease", "remove_destination", "dropped_until", "renew_lease",
            "replay_events", "revoke_org", "rotate_secret", "seal", "seal_if_due", "event_seal", "set_on_failure", "set_retention",
            "set_token", "record_delivery", "render_shortened", "unregister_node", "record_heartbeat", "remove_worker",
        ],
        OWN,
    ),
    **dict.fromkeys(
        [
            "assign_recorder", "doctor", "follow_ddl", "follow_drop", "follow_rewrite", "store_paths", "watch_table", "watch_triggers", "path_as_text",
            # A condition becomes a function that is rolled back before anything plans it.
            "check_rule", "parse_condition",
        ],
        CATALOGUE,
    ),
    **dict.fromkeys(["compile_table", "drop_functions_of_other_owners", "drop_unused_functions"], FUNCTIONS),
    # Statements about months of the log, by names out of the catalogue.
    **dict.fromkeys(
        [
            "archived_parts", "archived_salts", "drop_partition", "init_hub", "retention_plan",
        ],
        OWN,
    ),
    # The rows of a tracked table as the function returns them that reads it as the role that records it.
    **dict.fromkeys(["name_known_orgs", "record_baseline_batch"], OWN),
}  # fmt: skip
BUILDS = {
    "archived_parts", "archived_salts", "drop_functions_of_other_owners", "drop_unused_functions",
    "drop_partition", "init_hub", "name_known_orgs", "record_baseline_batch", "retention_plan",
}  # fmt: skip
"""What runs statements that it puts together; all others say what they do."""
PINS = {"quote_all_identifiers=off", "standard_conforming_strings=on"}
"""By which a name, or a literal with a backslash, would be another in some sessions."""
ENTRIES = {"track", "rule", "recompile"}
"""What people call, and other functions too."""
NAMES = re.compile(
    r"%(?:\d+\$)?I|quote_ident|format_type|pg_get_(?:\w*def|expr|function_sqlbody)|reg(?:class|type|role|procedure|namespace)::text"
)
"""What has names written out."""
UNQUALIFIED = re.compile(
    r"(?<!distinct )\b(?:from|join|update|insert into|only|table)\s+([a-z_][a-z_0-9.]*)\s*(\()?", re.I
)
# What stands after FROM and is no table: variables, transition tables, CTEs, parts of other syntax.
NO_TABLE = re.compile(r"^(pg_\w+|lateral|select|only|set|values|exclusive|skip|of)$")


@pytest.fixture
def functions(nemo):
    return (
        nemo.connect()
        .execute(
            "select oid, proname::text, proowner::regrole::text, prosecdef, proconfig, prosrc, proacl::text, "
            "(select rolsuper from pg_roles where pg_roles.oid = proowner) "
            "from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) order by proname"
        )
        .fetchall()
    )


def test_but_one_no_function_runs_as_a_superuser(functions):
    # It reads the catalogue alone, and has a trigger of pgtrail's fire for rows rather than statements, or the other way.
    assert [name for _, name, _, definer, *_, superuser in functions if definer and superuser] == ["fit_trigger"]
    # That one runs as whoever alters a table, who may be a superuser: so nobody else may replace it.
    assert [row[1] for row in functions if row[-1]] == ["extend_capture", "fit_trigger"]


def test_every_definer_has_a_path_of_its_own_and_is_nobodys_to_call_unless_it_is_granted(functions):
    for _, name, owner, definer, config, _, acl, _ in functions:
        if definer:
            assert config is not None, name
            assert config[0] == "search_path=pg_catalog, pg_temp", name
            # ("=X/" would be everybody.)
            assert acl is not None, name
            assert not re.search(r"[{,]=X", acl), name
            assert (
                owner == "audit_owner"
                or name == "fit_trigger"
                or (COMPILED.match(name) and owner.startswith("audit_recorder"))
            ), name


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
        common = set(
            re.findall(
                r"(?:\bwith(?:\s+recursive)?|,)\s+([a-z_]+)\s*(?:\([^)]*\))?\s+as\s+(?:not\s+)?(?:materialized\s+)?\(",
                text,
                re.I,
            )
        )
        variables = set(re.findall(r"^\s+([a-z_]+)\s+[a-z_.\[\]]+.*;", text, re.M)) | set(
            re.findall(r"\bp_[a-z_]+", text)
        )
        for table, called in UNQUALIFIED.findall(text):
            schema, _, relation = table.rpartition(".")
            # (A function without a schema is found by the path.)
            if schema in ("audit", "audit_internal", "pg_catalog") or (called and not schema):
                continue
            assert not schema, f"{name} reads {table}"
            assert NO_TABLE.match(relation) or relation in common | variables or relation in ("now", "node", "event"), (
                f"{name} reads {table}"
            )


def test_a_new_definer_needs_a_decision(functions):
    present = {
        name: bool(re.search(r"^\s*(return query\s+)?execute\b", source, re.M))
        for _, name, owner, definer, _, source, _, _ in functions
        if definer and owner == "audit_owner" and not COMPILED.match(name)
    }
    assert set(present) == set(DEFINERS)
    assert {name for name, builds in present.items() if builds} == BUILDS


def called_by(source, present):
    """The functions of schema audit that a source calls, not those that it tells people to call."""
    text = re.sub(r"--[^\n]*", "", source)
    text = re.sub(r"'(?:[^']|'')*'", "''", text)
    return set(re.findall(r"audit(?:_internal)?\.(\w+)\s*\(", text)) & present


def test_whatever_names_things_names_them_alike_in_every_session(nemo):
    """Each definer, and each function that changes something and that no other calls, pins what names depend on, if it
    writes any or calls what does."""
    rows = (
        nemo.connect()
        .execute(
            "select proname::text, prosecdef, provolatile = 'v' and prorettype <> 'trigger'::regtype, prokind = 'p', "
            "coalesce(proconfig, '{}'), prosrc from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[])"
        )
        .fetchall()
    )
    rows = [row for row in rows if not COMPILED.match(row[0])]
    present = {row[0] for row in rows}
    sources = {name: " ".join(row[-1] for row in rows if row[0] == name) for name in present}
    calls = {name: called_by(source, present) - {name} for name, source in sources.items()}
    pinned = {name for name, *_, config, _ in rows if set(config) >= PINS}

    def names(function, seen):
        if function in pinned:
            return False
        seen.add(function)
        return bool(NAMES.search(sources[function])) or any(
            names(other, seen) for other in calls[function] if other not in seen
        )

    called = set().union(*calls.values())
    begins = {
        name
        for name, definer, changes, procedure, *_ in rows
        if (definer or (changes and (name not in called or name in ENTRIES))) and not procedure
    }
    assert {"track", "untrack", "recompile", "rule", "follow_ddl", "follow_drop", "watch_triggers", "doctor"} <= begins
    unpinned = {function for function in begins if names(function, set())}
    assert unpinned == set()
