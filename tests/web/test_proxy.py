"""The page behind a real nginx, which lets people in, by TLS and below a path of its own."""

import re
import ssl

import httpx
import pytest
import trustme
from tests.nginx import Nginx
from tests.web.conftest import event_of, org_of, serving, speaking

pytestmark = pytest.mark.any_server

DIRECTIVES = """
    location /tools/ {{
        proxy_pass {upstream}/;
        proxy_set_header X-Remote-User $http_x_let_in;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
    }}
"""


@pytest.fixture
def proxied(day, folder):
    """A client of nginx, which believes its header X-Let-In as if it had asked for a password."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        speaking(day) as login,
        serving(day, "--trusted-header", "X-Remote-User", "--root-path", "/tools", user=login) as running,
    ):
        upstream = running.url().removesuffix("/tools/audit/")
        with (
            Nginx(folder, DIRECTIVES.format(upstream=upstream)) as nginx,
            httpx.Client(base_url=f"{nginx.url}/tools/audit", verify=context, timeout=30) as client,
        ):
            yield client


def test_it_lets_in_whom_nginx_names_and_its_own_header_is_not_the_browsers_to_set(proxied, day):
    assert proxied.get("/", headers={"x-remote-user": "eve"}).status_code == 403
    page = proxied.get("/", headers={"x-let-in": "ann@acme.example", "x-remote-user": "eve"})
    assert page.status_code == 200
    assert "Secure" in page.headers["set-cookie"]
    assert "Path=/tools/audit" in page.headers["set-cookie"]
    links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
    assert links
    assert all(link.startswith("/tools/audit/") for link in links)
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    exported = proxied.post("/export", headers={"x-let-in": "ann@acme.example"}, data={"csrf": token, "format": "csv"})
    assert exported.text.count("\n") > 50
    assert day.connect().execute(
        "select actor_id, host(actor_ip) from audit.event where action = 'audit.exported' order by id desc limit 1"
    ).fetchone() == ("ann@acme.example", "127.0.0.1")  # fmt: skip
    event = proxied.get(f"/events/{event_of(day, 'key.rotated')}", headers={"x-let-in": "ann"})
    assert "key.rotated" in event.text


def test_new_events_come_through_nginx_at_once(proxied, day):
    headers = {"x-let-in": "ann@acme.example"}
    text = proxied.get("/?category=teams", headers=headers).text
    after = re.search(r'data-after="([^"]+)"', text)[1]
    with proxied.stream("GET", "/live", params={"category": "teams", "after": after}, headers=headers) as stream:
        with day.connect("app") as app:
            app.execute("insert into nemo.team (org_id, name) values (%s, 'by nginx')", [org_of(day)])
        lines = iter(stream.iter_lines())
        assert "event: arrived" in lines
        assert next(lines) == "data: 1"
