"""The page in a real Chromium: what a person does with it, by mouse, keyboard, ear, and without a script."""

import json
import re
import subprocess

import pytest
from playwright.sync_api import expect
from tests.web.conftest import HOSTILE, event_of, org_of, serving

pytestmark = pytest.mark.any_server


def actions(page):
    return page.locator("#events .action").all_inner_texts()


def choose(page, label):
    """Take one of the times. (The radio itself is drawn by its label.)"""
    page.locator(".range label", has_text=label).click()


def test_a_person_filters_and_shares_the_view_and_goes_back(visit, day):
    page = visit()
    everything = actions(page)
    page.locator(".chip", has_text="API Keys").click()
    page.wait_for_url(re.compile("category=api_keys$"))
    assert {text.split(".")[0] for text in actions(page)} == {"key"}
    page.get_by_role("textbox", name="Actor").fill("bob")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("actor=bob"))
    filtered = actions(page)
    assert 0 < len(filtered) < len(everything)
    assert visit(page.url.partition("/audit")[2]).locator("#events tr").count() == len(filtered)
    page.go_back()
    page.go_back()
    assert actions(page) == everything
    assert not page.get_by_label("API Keys").is_checked()
    page.go_forward()
    assert page.get_by_label("API Keys").is_checked()


def test_a_preset_holds_at_once_and_days_once_both_are_there(visit, day):
    page = visit("/?category=teams")
    choose(page, "All time")
    page.wait_for_url(re.compile(r"\?range=all&category=teams$"))
    choose(page, "Custom")
    page.get_by_label("From").fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2026-01-02")
    page.wait_for_url(re.compile(r"\?from=2026-01-01&to=2026-01-02&category=teams$"))
    expect(page.get_by_role("heading", name="No events match")).to_be_visible()
    choose(page, "30 days")
    page.wait_for_url(re.compile(r"\?category=teams$"))
    assert actions(page)


def test_what_narrows_the_view_is_named_and_taken_away_one_by_one(visit, day):
    page = visit("/?category=teams&category=budgets&actor=bob&range=all")
    held = page.get_by_role("list", name="Applied filters")
    assert [" ".join(text.split()) for text in held.get_by_role("listitem").all_inner_texts()] == [
        "Category Teams ×", "Category Budgets ×", "Actor bob ×", "Clear all",
    ]  # fmt: skip
    page.get_by_role("link", name="Remove the filter Category teams").click()
    page.wait_for_url(re.compile(r"\?category=budgets&actor=bob&range=all$"))
    page.get_by_role("link", name="Clear all").click()
    page.wait_for_url(re.compile("/audit/$"))
    assert held.count() == 0


def test_a_bar_of_the_chart_leads_to_its_day(visit, day):
    page = visit()
    bar = page.locator(".chart a:has(.room)").last
    label = bar.locator("title").text_content()
    bar.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"from=\d{4}-\d\d-\d\d&to="))
    assert page.locator("#counted b").inner_text() == re.search(r": ([\d,]+) event", label)[1]


def test_a_part_of_a_bar_leads_to_its_day_and_category(visit, day):
    page = visit()
    part = page.locator(".chart a:not(:has(.room))").last
    label = part.locator("title").text_content()
    part.locator("rect").click(force=True)
    page.wait_for_url(re.compile(r"category=\w+&from="))
    assert page.locator("#counted b").inner_text() == re.search(r": ([\d,]+)$", label)[1]
    assert label.split(": ")[0].endswith(page.locator(".applied b").inner_text())


def test_older_events_come_page_by_page_each_once(visit, day):
    (total,) = day.connect("auditor").execute("select count(*) from audit.event").fetchone()
    page = visit("/?range=all")
    seen = []
    while True:
        seen += [link.get_attribute("href") for link in page.locator("#events td.when a").all()]
        older = page.get_by_role("link", name="Older")
        if not older.count():
            break
        older.click()
        page.wait_for_load_state()
    assert len(seen) == len(set(seen)) == total > 50


def test_an_event_shows_what_changed_and_who_really_wrote(visit, day):
    page = visit("/?action=key.rotated")
    page.locator("#events .action").first.click()
    expect(page.get_by_role("heading", name="key.rotated")).to_be_visible()
    changed = page.locator(".diff tr.changed")
    assert {row.split("\n")[0].split()[0] for row in changed.all_inner_texts()} == {"key_hash", "key_prefix"}
    assert "redacted" in page.locator(".diff tr", has_text="key_hash").inner_text()
    assert page.locator(".diff tr.changed del", has_text="sk-1").count() == 1
    assert page.locator(".diff tr.same").count() > 5
    real = page.get_by_role("region", name="Connection (recorded by the database)").inner_text()
    assert "app" in real
    assert "local socket" in real
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_role("status")).to_contain_text("its seal are unchanged")


def test_nested_json_is_compared_field_by_field(visit, day):
    event = day.connect().execute(
        "select id from audit.event where action = 'guardrail.updated' and changed = '{config}'"
    ).fetchone()[0]  # fmt: skip
    page = visit(f"/events/{event}")
    assert page.locator(".diff tr.changed").all_inner_texts()[1].split() == ["threshold", "changed", "0.8", "0.9"]
    # What is redacted on both sides can't be told to be the same.
    assert page.locator(".diff tr.may-have-changed", has_text="api_key").count() == 1


def test_names_lead_to_the_history_of_a_resource_and_the_activity_of_an_actor(visit, day):
    page = visit("/?action=key.rotated")
    page.locator("#events").get_by_role("link", name="prod").click()
    expect(page.get_by_role("heading", name=re.compile("History of key .*prod"))).to_be_visible()
    assert actions(page) == ["key.rotated", "key.updated", "key.created"]
    page.locator("#events .action").nth(1).click()
    page.get_by_role("link", name="Previous of this key").click()
    expect(page.get_by_role("heading", name="key.created")).to_be_visible()
    assert page.get_by_role("link", name="Previous of this key").count() == 0
    page.get_by_role("link", name="bob@acme.example").first.click()
    expect(page.get_by_role("heading", name=re.compile("Activity of .*bob@acme.example"))).to_be_visible()
    assert set(page.locator("#events td:nth-child(3)").all_inner_texts()) == {"bob@acme.example"}


def test_new_events_are_told_of_and_move_nothing(visit, day):
    page = visit("/?category=teams")
    before = page.locator("#events").inner_text()
    with day.connect("app") as app:
        org = org_of(day)
        app.execute("insert into nemo.team (org_id, name) values (%s, 'live one'), (%s, 'live two')", [org, org])
        app.execute(
            "insert into nemo.budget (org_id, name, max_spend, duration) values (%s, 'not a team', 1, 'daily')", [org]
        )
    expect(page.locator("#arrived a")).to_have_text("2 new events")
    assert page.locator("#events").inner_text() == before
    page.locator("#arrived a").click()
    expect(page.locator("#events")).to_contain_text("live two")
    assert "category=teams" in page.url


def test_times_are_those_of_the_browser_and_utc_stands_beside(visit, day):
    page = visit("/?action=plan.changed", timezone_id="America/St_Johns")
    expect(page.locator("#zone")).to_have_text("Times in America/St_Johns")
    time = page.locator("#events time").first
    ours = day.connect().execute(
        "select to_char(max(occurred_at) at time zone 'America/St_Johns', 'YYYY-MM-DD HH24:MI:SS'), audit_internal.rfc3339(max(occurred_at)) "
        "from audit.event where action = 'plan.changed'"
    ).fetchone()  # fmt: skip
    assert (time.inner_text(), time.get_attribute("title")) == ours


def test_an_export_tells_how_far_it_is_and_is_what_psql_copies(visit, day, server):
    page = visit("/?category=teams&actor=bob")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    expect(page.locator("#progress")).to_contain_text("done")
    where = "category = 'teams' and actor like '%bob%'"
    copied = subprocess.run(
        [server.binaries.bin_dir / "psql", "-X", "-q", day.dsn("auditor"), "-c",
         f"\\copy (select * from audit.export where {where}) to stdout csv header"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert download.value.path().read_bytes() == copied
    assert copied.count(b"\n") == 1 + len(actions(page)) > 1


def test_a_page_that_nobody_looks_at_hears_what_has_come_when_it_is_looked_at_again(visit, day):
    page = visit("/?category=members")
    look = """isHidden => {
        Object.defineProperty(document, "hidden", { configurable: true, value: isHidden });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with page.expect_event("requestfailed", lambda request: "/live" in request.url):
        page.evaluate(look, True)
    with day.connect("app") as app:
        app.execute(
            "insert into nemo.member (org_id, email, role) values (%s, 'new@acme.example', 'viewer')", [org_of(day)]
        )
    assert page.locator("#arrived a").is_hidden()
    page.evaluate(look, False)
    expect(page.locator("#arrived a")).to_have_text("1 new event")
    assert page.title().startswith("(1) ")


def test_on_paper_stand_the_filters_that_hold_and_nothing_to_click(visit, day):
    page = visit("/?category=teams")
    page.emulate_media(media="print")
    assert page.locator("form:visible, button:visible, nav:visible").count() == 0
    for text in ("Category Teams", "30 days", "Database", "Times in Europe/Oslo", "Printed 2"):
        expect(page.locator("body")).to_contain_text(text)
    assert page.locator("span.printed").is_visible()
    expect(page.locator("p.printed")).to_contain_text("of them are printed here, newest first.")
    page.goto(page.url.partition("/audit")[0] + f"/audit/events/{event_of(day, 'key.rotated')}")
    assert page.locator("form:visible, button:visible, nav:visible").count() == 0
    assert page.get_by_text("Connection (recorded by the database)").is_visible()


def test_the_fields_that_did_not_change_can_be_put_aside(visit, day):
    page = visit(f"/events/{event_of(day, 'key.rotated')}", java_script_enabled=False)
    assert page.locator(".diff tbody tr:visible").count() > 5
    page.get_by_label("Only what changed").check()
    assert page.locator(".diff tbody tr:visible").count() == 2


def test_an_event_is_copied_and_its_link_leads_to_it(visit, day):
    event = event_of(day, "key.rotated")
    page = visit(f"/events/{event}?verify=now", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    (stored,) = (
        day.connect().execute("select audit.event_json(event) from audit.event where id = %s", [event]).fetchone()
    )
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == stored
    page.get_by_role("button", name="Copy link").click()
    page.goto(page.evaluate("navigator.clipboard.readText()"))
    assert page.url.endswith(f"/audit/events/{event}")
    expect(page.get_by_role("heading", name="key.rotated")).to_be_visible()


def test_a_wrong_token_and_an_ended_session_lead_to_where_a_token_is_entered(browser, served):
    context = browser.new_context()
    page = context.new_page()
    page.goto(served.url() + "?token=wrong")
    expect(page.get_by_role("heading", name="This token is wrong, or has been used.")).to_be_visible()
    page.get_by_label("Token").fill(served.entrance().partition("token=")[2])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#events")).to_be_visible()
    (session,) = [cookie for cookie in context.cookies() if "session" in cookie["name"]]
    context.add_cookies([{**session, "value": session["value"][:-1]}])
    page.reload()
    expect(page.get_by_role("heading", name="You are not signed in, or your session has ended.")).to_be_visible()
    context.close()


def test_another_organizations_event_is_not_there_and_a_form_of_another_session_is_refused(visit, day):
    acme = org_of(day)
    (theirs,) = (
        day.connect().execute("select max(id) from audit.event where action = 'organization.deleted'").fetchone()
    )
    with serving(day, "--org", acme, user="admin") as confined:
        page = visit(by=confined)
        origin = page.url.partition("/audit")[0]
        assert page.goto(f"{origin}/audit/events/{theirs}").status == 404
        expect(page.get_by_role("heading", name="There is no such event.")).to_be_visible()
        page.goto(f"{origin}/audit/")
        page.locator(".export [name=csrf]").evaluate("field => { field.value = 'another' }")
        with page.expect_response(re.compile("/export$")) as answer:
            page.get_by_role("button", name="Export CSV").click()
        assert answer.value.status == 403
        expect(page.get_by_role("heading", name="This form is not of your session, or it is too old.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_and_nothing_sticks_out(visit, day, axe, scheme, width):
    page = visit("/?range=all", color_scheme=scheme, viewport={"width": width, "height": 800})
    event = event_of(day, "key.rotated")
    for path in (
        "/?range=all",
        "/?q=nothing-like-this",
        "/?category=teams&actor=bob&from=2026-01-01",
        "/?range=all&actor_type=user&actor_id=usr_bob",
        f"/events/{event}?verify=now",
        "/destinations",
        "/destinations/siem",
        "/events/0",
        "/?from=x",
    ):
        page.goto(page.url.partition("/audit")[0] + "/audit" + path)
        # (Not by add_script_tag: the page forbids scripts in it.)
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found] == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto(page.url.partition("/audit")[0] + "/audit/")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You have signed out.")).to_be_visible()
    page.evaluate(axe)
    assert page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")


def test_everything_is_reached_by_keyboard_alone(visit, day):
    page = visit("/?category=api_keys")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e.closest('.chip, .range label') ?? e.querySelector('.room') ?? e); "
            "return [e.name || (e instanceof SVGElement ? 'bar' : e.className || e.tagName), s.outlineStyle + s.boxShadow + s.stroke] })()"
        )
        reached.add(focused[0])
        assert focused[1] != "nonenonenone", focused
        if focused[0] == "action" and page.evaluate("document.activeElement.tagName") == "A":
            page.keyboard.press("Enter")
            break
    assert {"category", "range", "q", "action", "actor", "resource", "org", "primary", "bar", "format"} <= reached
    expect(page.locator(".diff")).to_be_visible()


def test_by_keyboard_one_chooses_first_and_then_applies(visit, day):
    page = visit()
    url = page.url
    page.get_by_role("radio", name="30 days").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="All time").is_checked()
    page.get_by_label("Teams").focus()
    page.keyboard.press("Space")
    assert page.url == url
    page.get_by_role("button", name="Apply").press("Enter")
    page.wait_for_url(re.compile(r"\?range=all&category=teams$"))


def test_without_a_script_everything_works(visit, day):
    page = visit(java_script_enabled=False)
    page.get_by_label("Plan").check(force=True)
    choose(page, "7 days")
    page.get_by_role("button", name="Apply").click()
    assert set(actions(page)) == {"plan.changed"}
    expect(page.locator("#zone")).to_have_text("Times in UTC")
    with page.expect_download():
        page.get_by_role("button", name="Export NDJSON").click()
    page.locator("#events .action").first.click()
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_role("status")).to_contain_text("its seal are unchanged")


def test_what_users_write_is_text_wherever_it_stands(visit, day):
    page = visit("/?range=all&size=200&action=settings.*")
    events = [link.get_attribute("href") for link in page.locator("#events td.when a").all()]
    assert len(events) >= 2 * len(HOSTILE)
    origin = page.url.partition("/audit")[0]
    for path in (page.url, *(origin + event for event in events)):
        page.goto(path)
        assert page.title() not in ("pwned", "1")
        assert page.locator("img, script:not([src]), [onmouseover], [onload], [onerror]").count() == 0
        assert "\u202e" not in page.content()
    names = visit("/?range=all&action=organization.created").locator("#events td:nth-child(4)").all_inner_texts()
    assert {text for text in HOSTILE if text.isprintable()} <= set(names)


def test_a_search_that_finds_little_goes_on_by_itself(visit, day):
    with day.connect("app") as app:
        org = org_of(day)
        app.execute("insert into nemo.team (org_id, name) values (%s, 'needle')", [org])
        app.execute(
            "insert into nemo.team (org_id, name) select %s, 'hay ' || i from generate_series(1, 9000) as i", [org]
        )
    plain = visit("/?q=needle", java_script_enabled=False)
    assert plain.get_by_role("link", name="Look further back").count() == 1
    assert plain.locator("#events tr").count() == 0
    assert "or more" in plain.locator("#counted").inner_text()
    nowhere = visit("/?q=needle-that-is-nowhere")
    expect(nowhere.get_by_role("heading", name="No events match")).to_be_visible()
    page = visit("/?q=needle")
    expect(page.locator("#pages")).to_contain_text("No older events match.")
    assert page.locator("#events tr").count() == 1
