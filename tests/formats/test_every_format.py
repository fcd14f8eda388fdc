"""What holds of every format."""

import json

import pytest

pytestmark = pytest.mark.any_server

FORMATS = (
    *("webhook", "cloudevents", "cloudevents_batch", "splunk_hec", "datadog", "elastic", "ocsf", "sentinel", "ndjson"),
)


def test_no_format_is_left_out(nemo):
    known = nemo.connect().execute("select name from audit.format order by name").fetchall()
    assert [row[0] for row in known] == sorted(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_no_secret_is_in(rendered, name):
    for event in rendered(name):
        assert "demo-secret" not in event.text
        assert "whsec_" not in event.text


@pytest.mark.parametrize("role", ["audit_reader", "audit_auditor", "audit_forwarder", "audit_admin"])
@pytest.mark.parametrize("name", FORMATS)
def test_whoever_reads_events_can_render_them_in(db, name, role):
    reader = db.connect()
    reader.execute(f"set role {role}")
    # Every action that is a class of its own, and a row that has to be cut.
    rows = reader.execute(
        f"""
        select audit_internal.render_{name}(event)
        from (values ('audit.done', 'audit'), ('member.role_changed', 'members'), ('password.changed', 'password'))
            as made (action, category)
        cross join jsonb_populate_record(null::audit.event, jsonb_build_object(
            'id', 1, 'occurred_at', now(), 'action', made.action, 'category', made.category, 'resource_type', 'member',
            'resource_id', 'a b', 'org_id', 'a b', 'actor_type', 'user', 'actor_label', 'ann@acme.example',
            'operation', 'UPDATE', 'before', jsonb_build_object('x', repeat('x', 70000)), 'after', jsonb_build_object()
        )) as event
        """
    ).fetchall()
    assert len(rows) == 3


@pytest.mark.parametrize("name", FORMATS)
def test_the_session_s_settings_change_nothing_in(nemo, name):
    connection = nemo.connect()
    query = f"select audit_internal.render_{name}(event) from audit.event order by id limit 20"
    here = connection.execute(query).fetchall()
    assert len(here) == 20
    connection.execute("set timezone to 'Asia/Kathmandu'; set datestyle to 'German'; set intervalstyle to 'iso_8601'")
    assert connection.execute(query).fetchall() == here


@pytest.mark.parametrize("name", FORMATS)
def test_the_id_is_a_string_of_its_own_kind_in(rendered, name):
    for event in rendered(name):
        assert json.dumps(f"evt_{event.event['id']}") in event.text


@pytest.mark.parametrize("name", FORMATS)
def test_any_text_is_rendered_without_an_error_in(holds_of_any_event, one_line, name):
    def check(event, text):
        lines = text.split("\n")
        assert len(lines) == (2 if name == "elastic" else 1)
        for line in lines:
            assert isinstance(one_line(line), dict)

    holds_of_any_event(name, check)
