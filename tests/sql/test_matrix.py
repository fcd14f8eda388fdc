"""Who may do what with every object of the schemas audit and audit_internal: read from the catalogue, so that a new one needs a decision here."""

import pytest

ROLES = ("public", "audit_reader", "audit_org_reader", "audit_auditor", "audit_admin", "audit_forwarder", "audit_hub")
EVERYBODY = set(ROLES)
READERS = {"audit_reader", "audit_org_reader", "audit_auditor", "audit_admin", "audit_forwarder"}
WHO_SEES_ALL = {"audit_auditor", "audit_admin", "audit_forwarder"}
VERIFIERS = {"audit_auditor", "audit_admin"}
ADMIN, FORWARDER, HUB = {"audit_admin"}, {"audit_forwarder"}, {"audit_hub"}
NOBODY: set[str] = set()

CATEGORY_VIEWS = (
    "api_keys", "members", "teams", "organization", "budgets", "guardrails", "plan", "settings", "data_policy", "profile", "password",
)  # fmt: skip

SELECT = {
    **dict.fromkeys(
        ["log", "diff", "export", "export_fields", "org_label", "org_grant", "category", "search_index", "search_index_head", "today", "last_7_days", "last_30_days", *CATEGORY_VIEWS], READERS
    ),
    **dict.fromkeys(
        [
            "tracked_table", "path_step", "rule", "format", "destination", "cursor", "attempt", "destination_status", "dead_letter",
            "replay", "worker", "erasure", "retention", "legal_hold", "policy", "import", "import_problem", "node", "node_seal",
        ],
        WHO_SEES_ALL,
    ),
    "destination_secret": FORWARDER,
    # What a hub needs to have every event, and to verify it.
    "event": READERS | HUB,
    **dict.fromkeys(["installation", "seal", "dropped_partition"], WHO_SEES_ALL | HUB),
    # What verifies: of who was erased the salts are gone, and the events of all others are theirs to read.
    **dict.fromkeys(["seal_leaves", "salt", "erased_part"], VERIFIERS | HUB),
    **dict.fromkeys(["node_seal_leaves", "node_salt", "node_erased_part", "node_copy", "node_dropped", "seal_head"], VERIFIERS),
    # For the definers alone; so is how the triggers were last seen.
    **dict.fromkeys(["node_dead_salt", "own_trigger", "recorder", "recording", "table_shape"], NOBODY),
}  # fmt: skip
"""Who reads a table or a view. Partitions are read through audit.event alone."""
WRITE = dict.fromkeys(["tracked_table", "rule", "category"], ADMIN)
"""Who inserts, updates and deletes in a table directly; all other tables are written by definers alone."""

EXECUTE = {
    "set_actor": EVERYBODY,
    **dict.fromkeys(
        [
            "row_before", "event_json", "filter", "matches_filter", "search", "render", "prove",
            "proof", "record_export", "has_nodes", "dropped_until", "event_seal", "check_event",
        ],
        READERS,
    ),
    **dict.fromkeys(["doctor", "retention_plan", "count_unsealed", "node_state"], WHO_SEES_ALL),
    **dict.fromkeys(
        [
            "track", "untrack", "rule", "drop_rule", "recompile", "record_baseline", "make_partitions", "grant_org", "revoke_org",
            "add_destination", "rotate_secret", "set_token", "pause_destination", "replay_events", "redrive_dead_letters",
            "rebase_destination", "remove_destination", "erase_actor", "set_on_failure", "set_retention", "clear_retention",
            "place_hold", "release_hold", "drop_partition", "init_hub", "add_node", "remove_node",
            "compile_table", "watch_table", "drop_unused_functions", "drop_functions_of_other_owners", "assign_recorder", "path_as_text",
            "store_paths", "name_known_orgs", "record_baseline_batch", "record_baseline_end", "watch_triggers", "parse_condition", "archived_salts",
            "archived_parts", "check_new_node", "last_received_seal", "make_node_partitions", "register_node", "unregister_node",
        ],
        ADMIN,
    ),
    **dict.fromkeys(
        ["next_batch", "render_shortened", "renew_lease", "record_delivery", "release_lease", "record_heartbeat", "remove_worker", "report_broken"], FORWARDER
    ),
    **dict.fromkeys(["seal", "seal_if_due", "index_events", "maintain"], ADMIN | FORWARDER),
}  # fmt: skip
"""Who calls a function that people call, or that runs as its owner. One that is not here is called by nobody but definers."""


@pytest.fixture
def rows(nemo):
    connection = nemo.connect()
    return lambda sql, *arguments: connection.execute(sql, *arguments).fetchall()


def holders(rows, check, *arguments):
    """The roles for which a has_…_privilege() call is true."""
    return {
        role
        for (role,) in rows(f"select role from unnest(%s::text[]) as role where {check}", [list(ROLES), *arguments])
    }


def relations(rows):
    return [
        name
        for (name,) in rows(
            "select relname::text from pg_class where relnamespace = 'audit'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f') order by 1"
        )
    ]


def test_every_table_and_view_is_read_and_written_by_whom_it_should(rows):
    partitions = {
        name
        for (name,) in rows(
            "select relname::text from pg_class where relispartition and relnamespace = 'audit'::regnamespace"
        )
    }
    present = set(relations(rows))
    assert present - partitions == set(SELECT), "a new table or view needs a decision"
    for name in present:
        for privilege in ("select", "insert", "update", "delete", "truncate", "references", "trigger"):
            got = (
                holders(rows, f"has_any_column_privilege(role, 'audit.{name}', '{privilege}')")
                if privilege in ("select", "insert", "update", "references")
                else holders(rows, f"has_table_privilege(role, 'audit.{name}', '{privilege}')")
            )
            wanted = {"select": SELECT, "insert": WRITE, "update": WRITE, "delete": WRITE}.get(privilege, {}).get(
                name, NOBODY
            )
            assert got == wanted, (name, privilege)


def test_every_function_is_called_by_whom_it_should(rows):
    functions = rows(
        "select oid, proname::text, pronamespace = 'audit_internal'::regnamespace and not prosecdef "
        "and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) and prokind = 'f' "
        "from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) and not starts_with(proname, 'capture ')"
    )
    assert set(EXECUTE) <= {name for _, name, _ in functions}, "a decision for what is gone"
    for oid, name, is_open in functions:
        # What runs as its caller gives nobody a right.
        wanted = EVERYBODY if is_open else EXECUTE.get(name, NOBODY)
        assert holders(rows, "has_function_privilege(role, %s::oid, 'execute')", oid) == wanted, name


def test_compiled_functions_are_for_who_makes_triggers(rows):
    compiled = rows(
        "select oid from pg_proc where pronamespace = any ('{audit,audit_internal}'::regnamespace[]) and starts_with(proname, 'capture ')"
    )
    assert len(compiled) > 20
    for (oid,) in compiled:
        assert holders(rows, "has_function_privilege(role, %s::oid, 'execute')", oid) == ADMIN


def test_no_sequence_is_anybodys_but_the_last_id_is_read_by_who_verifies(rows):
    for (name,) in rows(
        "select relname::text from pg_class where relnamespace = 'audit'::regnamespace and relkind = 'S'"
    ):
        for privilege in ("usage", "select", "update"):
            wanted = VERIFIERS if (name, privilege) == ("event_id_seq", "select") else NOBODY
            assert holders(rows, f"has_sequence_privilege(role, 'audit.{name}', '{privilege}')") == wanted, name


def test_the_schemas_are_used_by_everybody_and_made_in_by_nobody(rows):
    for schema in ("audit", "audit_internal"):
        assert holders(rows, f"has_schema_privilege(role, '{schema}', 'usage')") == EVERYBODY
        assert holders(rows, f"has_schema_privilege(role, '{schema}', 'create')") == NOBODY


def test_what_the_owner_makes_from_now_on_is_closed(nemo, rows):
    su = nemo.connect()
    su.execute("set role audit_owner")
    su.execute(
        "create table audit.new_table (id int generated always as identity); create view audit.new_view as select 1 as one"
    )
    su.execute(
        "create function audit.new_function() returns int language sql as 'select 1'; create type audit.new_type as (x int)"
    )
    for check in (
        "has_table_privilege(role, 'audit.new_table', 'select,insert,update,delete,truncate,references,trigger')",
        "has_table_privilege(role, 'audit.new_view', 'select')",
        "has_function_privilege(role, 'audit.new_function()', 'execute')",
        "has_sequence_privilege(role, 'audit.new_table_id_seq', 'usage,select,update')",
    ):
        assert holders(rows, check) == NOBODY, check


def test_every_view_runs_as_its_reader_and_the_tables_of_events_are_under_row_level_security(rows):
    views = rows(
        "select relname::text, reloptions from pg_class where relnamespace = 'audit'::regnamespace and relkind = 'v'"
    )
    # (Whoever records writes into that view, and nobody reads it.)
    assert [name for name, options in views if "security_invoker=true" not in (options or ())] == ["recording"]
    secured = {
        name
        for (name,) in rows(
            "select relname::text from pg_class where relnamespace = 'audit'::regnamespace and relrowsecurity"
        )
    }
    assert secured >= {"event", "org_grant"}
    # Whoever may read any of these sees every organization.
    assert all(
        SELECT[name] <= WHO_SEES_ALL | HUB
        for name in ("destination", "dead_letter", "replay", "attempt", "cursor", "seal", "erasure")
    )


def test_no_role_of_pgtrail_logs_in_or_is_a_superuser(rows):
    assert rows(
        "select rolname from pg_roles where rolname like 'audit\\_%' and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)"
    ) == []  # fmt: skip
    members = rows(
        "select roleid::regrole::text, member::regrole::text from pg_auth_members where member::regrole::text like 'audit\\_%'"
    )
    # Who sees every organization can confine itself to one.
    assert set(members) == {
        ("audit_org_reader", "audit_auditor"), ("audit_org_reader", "audit_admin"), ("audit_recorder", "audit_owner"),
        *((f"audit_recorder_{number}", "audit_owner") for number in (2, 3, 4)),
    }  # fmt: skip
