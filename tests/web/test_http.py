"""The page over HTTP: who gets in, what they get, and what it says when something is wrong."""

import csv
import io
import json
import re
import subprocess
import time

import httpx
import psycopg
import pytest
from itsdangerous import TimestampSigner
from tests.conftest import clone
from tests.web.conftest import event_of, org_of, serving, speaking, terminate_pages, without_the_time

from pgtrail_cli.demo.receiver import Receiver

pytestmark = pytest.mark.any_server


@pytest.fixture(scope="module")
def client(served):
    with served.client() as inside:
        yield inside


def form_token(client, path="/"):
    return re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)[1]


def export(client, **fields):
    return client.post("/export", data={"csrf": form_token(client), **fields})


def test_a_token_lets_in_once_and_a_wrong_one_never(served):
    url = served.url().rstrip("/")
    entrance = served.entrance()
    with httpx.Client(base_url=url) as outside:
        check_token(served, outside, entrance)


def check_token(served, outside, entrance):
    for path in (
        "/",
        "/?token=wrong",
        f"/events/{event_of(served.database, 'key.rotated')}",
        "/destinations",
        "/live?after=1:1:",
    ):
        answer = outside.get(path)
        assert answer.status_code == 403, path
        assert "prod" not in answer.text
        assert "set-cookie" not in answer.headers
    assert outside.post("/sign-in", data={"token": "wrong"}).status_code == 403
    first = httpx.get(entrance)
    assert first.status_code == 303
    assert "token" not in first.headers["location"]
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    assert httpx.get(entrance).status_code == 403
    # The next one has been printed meanwhile; it can be typed in too.
    deadline = time.monotonic() + 10
    while served.entrance() == entrance and time.monotonic() < deadline:
        time.sleep(0.01)
    signed_in = outside.post(
        "/sign-in", data={"token": served.entrance().partition("token=")[2]}, headers={"x-forwarded-proto": "https"}
    )
    assert signed_in.status_code == 303
    assert "secure" in signed_in.headers["set-cookie"].lower()


def test_a_session_that_has_ended_or_was_made_up_is_none(day):
    with serving(day, "--session-minutes", "0.05") as running, running.client() as client:
        ((name, kept),) = client.cookies.items()
        assert client.get("/").status_code == 200
        time.sleep(4.1)
        # (httpx, like a browser, forgets it by itself.)
        assert httpx.get(running.url(), headers={"cookie": f"{name}={kept}"}).status_code == 403
        for made_up in (
            "",
            "x",
            kept[:-1] + ("A" if kept[-1] != "A" else "B"),
            TimestampSigner("guess").sign("x").decode(),
        ):
            answer = httpx.get(running.url(), cookies={name: made_up})
            assert answer.status_code == 403
            assert "session has ended" in answer.text


def test_every_answer_forbids_what_the_page_does_not_need(client, day):
    for path in ("/", f"/events/{event_of(day, 'key.rotated')}", "/static/page.js", "/nothing", "/destinations"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    text = client.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"\s(on\w+|style)=", text.split("<table")[0])
    assert set(re.findall(r'(?:src|href)="(https?:[^"]+)"', text)) == set()


def test_the_csv_is_what_psql_copies_for_the_same_filter(client, day, server):
    acme = org_of(day)
    cases = [
        ({"category": ["teams", "api_keys"]}, "category in ('teams', 'api_keys')"),
        ({"action": "key.*", "actor": "bob"}, "action like 'key.%' and actor like '%bob%'"),
        (
            {"q": "inc-4711"},
            "lower(reason || details::text) like '%inc-4711%' or lower(details::text) like '%inc-4711%'",
        ),
        ({"org": acme, "range": "7d", "before": "1-1"}, f"org_id = '{acme}'"),
    ]
    for fields, condition in cases:
        answer = export(client, format="csv", **fields)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith('attachment; filename="audit-')
        copied = subprocess.run(
            [server.binaries.bin_dir / "psql", "-X", "-q", day.dsn("auditor"), "-c",
             f"\\copy (select * from audit.export where {condition}) to stdout csv header"],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        assert answer.content == copied
        assert answer.content.count(b"\n") > 1


def test_json_lines_are_the_events_and_each_export_is_an_event(client, day):
    before = day.connect().execute("select clock_timestamp()").fetchone()[0]
    answer = export(client, format="ndjson", category="plan")
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert {event["action"] for event in events} == {"plan.changed"}
    (recorded,) = day.connect().execute(
        "select after from audit.event where action = 'audit.exported' and occurred_at > %s", [before]
    ).fetchall()  # fmt: skip
    assert recorded[0]["events"] == len(events) == 2
    assert recorded[0]["filters"]["categories"] == ["plan"]
    everything = export(client, format="csv", range="all")
    (total,) = day.connect("auditor").execute("select count(*) from audit.event where action <> 'x'").fetchone()
    assert len(list(csv.DictReader(io.StringIO(everything.text, newline="")))) == total


def test_a_single_database_says_nothing_of_nodes(client, day):
    for path in ("/?range=all", f"/events/{event_of(day, 'key.rotated')}", "/?resource_type=key&resource_id=x"):
        text = client.get(path).text
        assert not re.search(r">Node\b|name=.node.|node=|this hub|class=.where.", text), path
    # Who comes with another's URL is told what it asks for, and that there is nothing of it.
    text = client.get("/?range=all&node=eu1").text
    assert "Node <b>eu1</b>" in text
    assert "No events match" in text
    assert 'type="hidden" name="node" value="eu1"' in text
    assert client.get("/events/eu1:42").status_code == 404


def test_a_form_from_elsewhere_is_refused(client, day):
    token = form_token(client)
    other = TimestampSigner("guess").sign("x").decode()
    for path in ("/export", "/destinations/siem/pause", "/destinations/siem/redrive"):
        for data in ({}, {"csrf": ""}, {"csrf": other}, {"csrf": token[:-2]}, {"csrf": form_token(client) + "x"}):
            assert client.post(path, data=data).status_code == 403, (path, data)
        assert client.get(path).status_code in (404, 405)
    assert day.connect().execute("select paused from audit.destination").fetchone() == (False,)


def test_one_organization_is_all_there_is(day):
    acme = org_of(day)
    su = day.connect()
    others = [row[0] for row in su.execute("select id from audit.event where org_id is distinct from %s", [acme])]
    (theirs,) = su.execute("select count(*) from audit.event where org_id = %s", [acme]).fetchone()
    with serving(day, "--org", acme, user="admin") as running, running.client() as client:
        for event in others[:: len(others) // 15]:
            for path in (f"/events/{event}", f"/events/{event}/json"):
                assert client.get(path).status_code == 404
            missing = without_the_time(client.get(f"/events/{10**9}").text)
            found = without_the_time(client.get(f"/events/{event}").text)
            assert found == missing.replace(str(10**9), str(event))
        assert client.get("/destinations").status_code == 404
        assert client.post("/destinations/siem/pause", data={"csrf": form_token(client)}).status_code == 403
        for fields in ({}, {"org": "nope"}, {"range": "all"}):
            rows = list(csv.DictReader(io.StringIO(export(client, format="csv", **fields).text, newline="")))
            assert {row["org_id"] for row in rows} <= {acme}
            assert (len(rows) >= theirs) == ("org" not in fields)
        event = su.execute("select max(id) from audit.event where action = 'key.rotated'").fetchone()[0]
        assert client.get(f"/events/{event}").status_code == 200
        assert "its seal are unchanged" in client.get(f"/events/{event}?verify=now").text
    # What was taken out is seen by whose it is.
    assert su.execute(
        "select count(*) > 0 from audit.event where action = 'audit.exported' and org_id = %s", [acme]
    ).fetchone() == (True,)


def test_a_reader_sees_what_was_granted_and_no_destination(day):
    acme = org_of(day)
    day.connect().execute("select audit.grant_org('reader', %s)", [acme])
    with serving(day, user="reader") as running, running.client() as client:
        rows = list(csv.DictReader(io.StringIO(export(client, format="csv", range="all").text, newline="")))
        assert {row["org_id"] for row in rows} == {acme}
        assert client.get("/").text.count("<tr role") > 10
        assert client.get("/destinations").status_code == 404


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "from=2026-02-30", "from=2026-02-02&to=2026-02-01", "range=year", "size=7", "before=x", "before=1-2-3",
     "actor_id=x", "q=" + "x" * 501, "action=" + "%00", "before=99999999999999999999-1"],
)  # fmt: skip
def test_what_makes_no_sense_is_said_in_a_line(client, query):
    answer = client.get(f"/?{query}")
    assert answer.status_code == 400
    assert "<h1>" in answer.text
    assert "Traceback" not in answer.text


def test_nothing_that_is_asked_breaks_it(client):
    for query in ("action=*", "action=((((", "actor=%25", "q='", "q=%5C", "org=", "before=1-1", "before=90000000000000000-1",
                  "actor_type=%27&actor_id=%22", "resource_type=a&resource_id=" + "x" * 9000, "from=0001-01-01", "to=9999-12-31", "unknown=1"):  # fmt: skip
        answer = client.get(f"/?{query}")
        assert answer.status_code == 200, (query, answer.text[:2000])
    for zone in (
        "Europe/Oslo",
        "ABC-167",
        "A/B-167",
        "nowhere/at-all",
        "nowhere",
        "'; select 1 --",
        "x" * 500,
        "../../etc/passwd",
    ):
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        assert client.get("/", headers={"cookie": f"{cookies}; pgtrail_zone={zone}"}).status_code == 200, zone
    answer = client.get("/?category=nope")
    assert (answer.status_code, "nope" in answer.text) == (400, True)
    assert client.get("/live?after=5:1:/0").status_code == 400
    assert client.get("/destinations/%00").status_code == 400
    for event in ("0", "-1", "x", "9" * 30, "evt_1 or 1=1", "%00"):
        assert client.get(f"/events/{event}").status_code == 404, event
    assert client.get("/live?after=nonsense").status_code == 400


def test_a_database_that_is_away_is_said_and_comes_back_by_itself(server, day):
    with (
        psycopg.connect(server.dsn(), autocommit=True) as su,
        serving(day) as running,
        running.client() as client,
    ):
        terminate_pages(su, day)
        assert client.get("/").status_code == 200
        # (A limit of the database is refused to who connects, as a server that starts or stops does.)
        su.execute(f"alter database {day.name} allow_connections false")
        try:
            terminate_pages(su, day)
            answer = client.get("/")
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            assert 'http-equiv="refresh"' in answer.text
            assert day.name not in answer.text
        finally:
            su.execute(f"alter database {day.name} allow_connections true")
        assert client.get("/").status_code == 200


def test_an_admin_pauses_resumes_and_tests_a_destination_and_it_is_recorded(day):
    secret = day.connect().execute("select secret from audit.destination_secret limit 1").fetchone()[0]
    with serving(day, user="admin") as running, running.client() as client:
        token = form_token(client)
        for path in ("/destinations", "/destinations/siem"):
            assert str(secret) not in client.get(path).text
        assert "paused" in client.post("/destinations/siem/pause", data={"csrf": token}).text
        assert "Resume" in client.get("/destinations/siem").text
        assert "Pause" in client.post("/destinations/siem/resume", data={"csrf": token}).text
        tested = client.post("/destinations/siem/test", data={"csrf": token})
        assert tested.status_code == 200
        assert "siem can&#39;t be tested" in tested.text
        assert client.post("/destinations/nope/pause", data={"csrf": token}).status_code == 404
        assert client.post("/destinations/siem/drop", data={"csrf": token}).status_code == 404
        assert client.post("/destinations/siem/redrive", data={"csrf": token, "reason": ""}).status_code == 400
    assert (
        day.connect()
        .execute(
            "select count(*) from audit.event where action = 'destination.updated' or action like 'audit.destination%'"
        )
        .fetchone()[0]
        >= 3
    )


def test_a_test_is_sent_by_who_may_sign_as_the_worker_and_says_what_came_back(day):
    su = day.connect()
    su.execute(
        "do $$ begin create role operator login in role audit_admin, audit_forwarder; exception when duplicate_object then null; end $$"
    )
    with Receiver() as receiver:
        (receiver.secret,) = su.execute(
            'select audit.add_destination(\'near\', %s, options => \'{"allow_http": true, "allowed_networks": ["127.0.0.0/8"]}\')',
            [receiver.url],
        ).fetchone()
        with serving(day, user="operator") as running, running.client() as client:
            page = client.get("/destinations/near").text
            assert "Send a test" in page
            assert receiver.url not in page
            token = form_token(client)
            assert "near took it: HTTP 2" in client.post("/destinations/near/test", data={"csrf": token}).text
            receiver.secret = "whsec_" + "A" * 32
            refused = client.post("/destinations/near/test", data={"csrf": token})
            assert "near did not take it: " in refused.text
    with serving(day, user="admin") as running, running.client() as client:
        assert "Send a test" not in client.get("/destinations/near").text
    su.execute("select audit.remove_destination('near', true)")


def test_dead_letters_are_shown_and_sent_again_with_a_reason(day):
    su = day.connect()
    su.execute("select audit.add_destination('picky', 'https://picky.example/hooks')")
    event = event_of(day, "key.rotated")
    su.execute(
        "insert into audit.dead_letter (destination_id, event_id, status, error, attempts) "
        "values (audit_internal.destination_id('picky'), %s, 422, '<b>no such field</b>', 3)",
        [event],
    )
    with serving(day, user="admin") as running, running.client() as client:
        page = client.get("/destinations/picky").text
        assert f"/events/{event}" in page
        assert "&lt;b&gt;no such field" in page
        answer = client.post("/destinations/picky/redrive", data={"csrf": form_token(client), "reason": "mended"})
        assert answer.status_code == 200
        assert su.execute(
            "select after ->> 'reason' from audit.event where action = 'audit.dead_letters_redriven' order by id desc limit 1"
        ).fetchone() == ("mended",)
    su.execute("select audit.remove_destination('picky', true)")


def test_an_ended_session_ends_its_streams_and_a_live_one_is_not_made_longer(day):
    with serving(day, "--session-minutes", "0.05") as running, running.client() as client:
        assert "set-cookie" not in client.get("/?token=wrong", follow_redirects=False).headers
        with client.stream("GET", "/live", params={"after": "1:1:/0"}) as stream:
            # It comes to its end: otherwise the test would wait here for ever.
            assert any("arrived" in line for line in list(stream.iter_lines()))


def test_who_signs_out_is_out(day):
    with serving(day) as running, running.client() as client:
        ((name, kept),) = client.cookies.items()
        answer = client.post("/sign-out", data={"csrf": form_token(client)})
        assert "You have signed out." in answer.text
        assert client.get("/").status_code == 403
        # Whoever has copied the cookie, too.
        assert httpx.get(running.url(), headers={"cookie": f"{name}={kept}"}).status_code == 403


def test_a_token_is_not_used_up_by_a_preview_but_by_whoever_follows_it(day):
    with serving(day) as running, running.client() as client:
        entrance = running.entrance()
        assert httpx.head(entrance).status_code in (403, 405)
        assert client.get(entrance).status_code == 200
        assert httpx.get(entrance).status_code == 403


def test_values_that_python_can_not_hold_are_shown_as_they_are(day):
    org = org_of(day)
    with day.connect("app") as app:
        app.execute("insert into nemo.setting (org_id, name, value) values (%s, 'large', '{}')", [org])
        app.execute(
            "update nemo.setting set value = jsonb_build_object('n', 1e5000, 'm', 12345678901234567890.123, 't', true) where name = 'large' and org_id = %s",
            [org],
        )
        app.execute("update nemo.setting set value = value || '{\"t\": 1}' where name = 'large' and org_id = %s", [org])
        app.execute(
            "insert into nemo.setting (org_id, name, value) values (%s, 'wide', (select jsonb_object_agg('k' || i, i) from generate_series(1, 20000) as i))",
            [org],
        )
    with serving(day) as running, running.client() as client:
        page = client.get("/?category=settings")
        assert page.status_code == 200
        assert "value.t" in page.text
        large, wide = (
            event
            for (event,) in day.connect().execute(
                "select max(id) from audit.event where resource_label in ('large', 'wide') group by resource_label order by resource_label"
            )
        )
        event = client.get(f"/events/{large}").text
        assert "12345678901234567890.123" in event
        assert event.count('class="changed"') == 2
        event = client.get(f"/events/{wide}").text
        assert "There are more than 2,000 fields" in event
        assert len(event) < 2_000_000


def test_who_was_granted_nothing_is_told_so(day):
    day.connect().execute(
        "do $$ begin create role newcomer login in role audit_reader; exception when duplicate_object then null; end $$"
    )
    with serving(day, user="newcomer") as running, running.client() as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "No organization is granted to you" in page.text
    with serving(day, "--org", org_of(day)) as running, running.client() as client:
        assert client.get("/?org=another&range=all").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--org", "acme"), "grant audit_org_reader"),
        (("--host", "203.0.113.9"), "--tls-cert"),
        (("--trusted-proxy", "10.0.0.1"), "--trusted-header"),
        (("--root-path", "tools"), "/tools"),
        (("--trusted-header", "x", "--trusted-proxy", "ten"), "10.0.0.0/24"),
        (("--host", "203.0.113.9", "--trusted-header", "x"), "choose another"),
    ],
)
def test_what_can_not_be_served_is_said_in_a_line(day, pgtrail, arguments, said):
    done = pgtrail("page", "--port", "0", *arguments, dsn=day.dsn("reader"))
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_auditor_looks_and_changes_nothing(client, day):
    assert client.get("/destinations/siem").status_code == 200
    assert "Pause" not in client.get("/destinations/siem").text
    assert client.post("/destinations/siem/pause", data={"csrf": form_token(client)}).status_code == 403


def test_behind_a_proxy_the_header_is_who_it_is_and_only_from_there(day):
    with (
        speaking(day) as login,
        serving(day, "--trusted-header", "X-Remote-User", "--root-path", "/tools", user=login) as running,
    ):
        url = running.url().replace("/tools", "")
        with httpx.Client(base_url=url) as client:
            assert client.get("/").status_code == 403
            client.headers["x-remote-user"] = "ann@acme.example"
            answer = client.get("/")
            assert answer.status_code == 200
            assert 'href="/tools/audit/static/page.css"' in answer.text
            assert client.get("/", headers=[("x-remote-user", "eve"), ("x-remote-user", "ann")]).status_code == 403
            # (Whoever plants their own cookie at somebody else has not that one's form.)
            token = re.search(
                r'name="csrf" value="([^"]+)"', client.get("/", headers={"x-remote-user": "mallory"}).text
            )[1]
            assert client.post("/export", data={"csrf": token}).status_code == 403
            del client.headers["x-remote-user"]
            # (To a browser it is all below /tools, and so is the cookie.)
            cookie = answer.headers["set-cookie"].partition(";")[0]
            headers = [
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-for", "7.7.7.7, 203.0.113.9"),
                ("cookie", cookie),
                ("x-remote-user", "Jörg@acme.example".encode()),
            ]
            token = re.search(r'name="csrf" value="([^"]+)"', client.get("/", headers=headers).text)[1]
            assert client.post("/export", data={"csrf": token}, headers=headers).status_code == 200
    (actor,) = day.connect().execute(
        "select (actor_id, host(actor_ip)) from audit.event where action = 'audit.exported' order by id desc limit 1"
    ).fetchone()  # fmt: skip
    assert actor == ("Jörg@acme.example", "203.0.113.9")
    with serving(day, "--trusted-header", "X-Remote-User", "--trusted-proxy", "10.0.0.0/8") as running:
        assert httpx.get(running.url(), headers={"x-remote-user": "ann"}).status_code == 403


def test_the_page_calls_no_operator_of_a_schema_in_the_path(server, nemo_template):
    for database in clone(server, nemo_template):
        su = database.connect()
        su.execute("insert into nemo.organization (name, slug) values ('A', 'a')")
        su.execute(
            "create function public.times(numeric, int) returns numeric language plpgsql as "
            "$$ begin raise exception 'called by %', current_user; end $$; "
            "create operator public.* (function = public.times, leftarg = numeric, rightarg = int)"
        )
        with serving(database) as running, running.client() as client:
            answer = client.get("/")
            assert answer.status_code == 200
            assert "organization.created" in answer.text
