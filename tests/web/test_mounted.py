"""The page as a part of another app, which lets people in and says whose they are."""

import re
import uuid

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from tests.web.conftest import event_of, org_of

import pgtrail_web

pytestmark = pytest.mark.any_server


@pytest.fixture
async def dashboard(day):
    """A client of an app whose own role may read one organization at a time, and nothing else."""
    su = day.connect()
    su.execute(
        "do $$ begin create role dashboard login in role audit_org_reader; exception when duplicate_object then null; end $$"
    )

    def org(request):
        if "x-user" not in request.headers:
            raise HTTPException(401)
        given = request.headers.get("x-org")
        return uuid.UUID(given) if given and len(given) == 36 else given

    async def actor(request):
        return request.headers["x-user"]

    audit = pgtrail_web.app(day.dsn("dashboard"), org=org, actor=actor, secret="two processes, one secret")
    app = Starlette(routes=[Mount("/team/audit", audit)])
    async with (
        audit.router.lifespan_context(audit),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://app.example") as client,
    ):
        yield client


async def test_the_app_says_whose_events_are_shown_and_who_takes_them_out(dashboard, day):
    acme = org_of(day)
    assert (await dashboard.get("/team/audit/")).status_code == 401
    headers = {"x-user": "ann@acme.example", "x-org": acme}
    page = await dashboard.get("/team/audit/", headers=headers)
    assert page.status_code == 200
    assert 'href="/team/audit/static/page.css"' in page.text
    assert "Path=/team/audit" in page.headers["set-cookie"]
    assert "Secure" in page.headers["set-cookie"]
    assert "Destinations" not in page.text
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    exported = await dashboard.post(
        "/team/audit/export", headers=headers, data={"csrf": token, "format": "ndjson", "range": "all"}
    )
    assert {re.search(r'"org_id": "([^"]+)"', line)[1] for line in exported.text.splitlines()} == {acme}
    assert day.connect().execute(
        "select actor_id, org_id, db_role from audit.event where action = 'audit.exported' order by id desc limit 1"
    ).fetchone() == ("ann@acme.example", acme, "dashboard")  # fmt: skip


async def test_another_organization_finds_nothing_and_nobody_sees_all(dashboard, day):
    event = event_of(day, "key.rotated")
    for org in ("somebody else", "'", "", None):
        headers = {"x-user": "eve"} | ({} if org is None else {"x-org": org})
        assert (await dashboard.get(f"/team/audit/events/{event}", headers=headers)).status_code == (
            404 if org else 403
        )
        assert "prod" not in (await dashboard.get("/team/audit/?range=all", headers=headers)).text


async def test_a_session_holds_in_every_process_that_has_the_secret(dashboard, day):
    headers = {"x-user": "ann@acme.example", "x-org": org_of(day)}
    text = (await dashboard.get("/team/audit/", headers=headers)).text
    token = re.search(r'name="csrf" value="([^"]+)"', text)[1]
    other = pgtrail_web.app(
        day.dsn("dashboard"),
        org=lambda _: org_of(day),
        actor=lambda _: "ann@acme.example",
        secret="two processes, one secret",
    )
    app = Starlette(routes=[Mount("/team/audit", other)])
    async with (
        other.router.lifespan_context(other),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="https://app.example", cookies=dashboard.cookies
        ) as client,
    ):
        assert (await client.post("/team/audit/export", data={"csrf": token})).status_code == 200
        assert (await client.post("/team/audit/export", data={"csrf": token + "x"})).status_code == 403


async def test_it_can_be_ended_and_begun_again(day):
    audit = pgtrail_web.app(day.dsn("auditor"), org=lambda _: pgtrail_web.ALL_ORGANIZATIONS)
    for _ in range(2):
        async with (
            audit.router.lifespan_context(audit),
            httpx.AsyncClient(transport=httpx.ASGITransport(audit), base_url="https://app.example") as client,
        ):
            assert (await client.get("/")).status_code == 200
    open_to_nobody = pgtrail_web.app(day.dsn("auditor"))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(open_to_nobody), base_url="https://app.example"
    ) as client:
        assert (await client.get("/")).status_code == 403
