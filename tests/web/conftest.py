"""The page as `pgtrail page` serves it, and a real Chromium to look at it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright
from psycopg import sql
from tests import command
from tests.conftest import clone, required

from pgtrail_cli.demo import scenario

# A busy machine is no failure.
expect.set_options(timeout=20_000)

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOSTILE = (
    "<script>document.title='pwned'</script>",
    '"><img src=x onerror="document.title=\'pwned\'">',
    "' onmouseover='document.title=1' x='",
    "{{ 7 * 7 }}{% raw %}</textarea></title><svg/onload=alert(1)>",
    "javascript:alert(1)//\u202egnp.exe\x1b[31m",
)


class Served:
    """A running `pgtrail page`: where it is, whose database, and what it says."""

    def __init__(self, process: command.Run, database) -> None:
        self.process = process
        self.database = database
        self.said: list[str] = []
        self._spoke = threading.Condition()
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._spoke:
                self.said.append(line)
                self._spoke.notify_all()

    def end(self) -> None:
        """Hear the rest of what a process that has ended said."""
        self._listening.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        assert not [line for line in self.said if "Traceback" in line], "".join(self.said)

    def url(self) -> str:
        """The address that authenticates once: the last one that was printed."""
        with self._spoke:
            assert self._spoke.wait_for(lambda: any("http" in line for line in self.said), 30), self.said
            return re.findall(r"https?://\S+/", [line for line in self.said if "http" in line][-1])[0].rstrip(",")

    def entrance(self) -> str:
        self.url()
        with self._spoke:
            return re.findall(r"https?://\S+", [line for line in self.said if "http" in line][-1])[0]

    @contextlib.contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """A client that is signed in."""
        with httpx.Client(base_url=self.url().rstrip("/"), follow_redirects=True, timeout=30) as client:
            answer = client.get(self.entrance())
            assert answer.status_code == 200, answer.text
            yield client


@contextlib.contextmanager
def serving(database, *arguments: str, user: str = "auditor") -> Iterator[Served]:
    process = command.start(
        "page", "--port", "0", "--dsn", database.dsn(user), *arguments,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
    )  # fmt: skip
    running = Served(process, database)
    try:
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        finally:
            process.kill()
            process.wait()
            running.end()


@contextlib.contextmanager
def speaking(database) -> Iterator[str]:
    """A login for a page that speaks for the viewers whom its proxy names."""
    su = database.connect()
    su.execute("create role speaking_page login in role audit_auditor, audit_org_reader")
    try:
        yield "speaking_page"
    finally:
        su.execute("drop role speaking_page")


def played(database):
    """The demo's day, nasty texts wherever a user can write one, and a seal over all of it."""
    with database.connect("app") as app:
        scenario.play(app)
        for text in HOSTILE:
            with app.transaction():
                app.execute("select set_config('application_name', %s, true)", [text[:60]])
                app.execute("select audit.set_actor(%s, %s, 'user', null, %s, %s, %s)", [text] * 5)
                app.execute("insert into nemo.organization (name, slug) values (%s, %s)", [text, text])
                app.execute(
                    "insert into nemo.setting (org_id, name, value) select id, 'router', %s from nemo.organization where slug = %s",
                    [psycopg.types.json.Jsonb({text: text, "deep": {"list": [{text: 1}]}}), text],
                )
                app.execute(
                    "update nemo.setting set value = %s where value ? %s",
                    [psycopg.types.json.Jsonb({text: {text: 2}}), text],
                )
    su = database.connect()
    su.execute("select audit.add_destination('siem', 'https://siem.example/hooks')")
    su.execute("select audit.seal()")
    return database


@pytest.fixture(scope="module")
def day(server, nemo_template):
    """A database after the demo's day; what a test adds stays for the next ones."""
    yield from (played(database) for database in clone(server, nemo_template))


@pytest.fixture(scope="module")
def served(day) -> Iterator[Served]:
    with serving(day) as running:
        yield running


# (Of a module: while Playwright's loop runs, no other test of this process can have one.)
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    system = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as playwright:
        try:
            launched = playwright.chromium.launch(executable_path=system, args=list(FLAGS))
        except Error as error:
            required(f"there is no Chromium: {str(error).splitlines()[0]}")
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which is run in the page."""
    file = Path(sys.prefix) / "axe.min.js"
    if not file.is_file() or not file.stat().st_size:
        required("there is no axe-core: make test gets it with npm")
    return file.read_text()


@pytest.fixture
def visit(browser, served):
    """Opens the page as somebody who is signed in: options of the browser's context. Fails on errors of the script."""
    contexts = []

    def visiting(path: str = "/", *, by: Served = served, **options) -> Page:
        context = browser.new_context(
            **{"timezone_id": "Europe/Oslo", "viewport": {"width": 1280, "height": 900}} | options
        )
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(by.entrance())
        page.goto(by.url().rstrip("/") + path)
        return page

    complaints: list[str] = []
    yield visiting
    for context in contexts:
        context.close()
    assert not [text for text in complaints if "Failed to load resource" not in text]


def org_of(database, slug: str = "acme") -> str:
    (found,) = database.connect().execute("select id::text from nemo.organization where slug = %s", [slug]).fetchone()
    return found


def without_the_time(page: str) -> str:
    """A page but for when it was asked for, which it shows to the minute."""
    return re.sub(r"Printed <b>[^<]*</b>", "", page)


def event_of(database, action: str) -> int:
    (found,) = database.connect().execute("select max(id) from audit.event where action = %s", [action]).fetchone()
    return found


def terminate_pages(su, database) -> None:
    """Cut every connection of the page to the database, by a connection to another one."""
    su.execute(
        sql.SQL(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = {} and application_name like 'pgtrail page%'"
        ).format(sql.Literal(database.name))
    )


def memory(pid: int) -> int:
    """The most bytes that a process has had."""
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
