"""Takes the pictures of the documents out of the demo's data: ``make screenshots``. Needs a Chromium."""

import shutil
import tempfile
from pathlib import Path

import psycopg
from playwright.sync_api import sync_playwright
from psycopg.conninfo import make_conninfo

from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.demo import scenario, stage

IMAGES = Path(__file__).parent / "images"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
SPREAD = """
    update audit.event
    set occurred_at = occurred_at - make_interval(days => ((98 - id) * 27 / 98)::int, hours => (id % 7)::int)
    where id < 98
"""
"""Over four weeks, as a day's events would make one bar. (A superuser can: and `pgtrail verify` would show it.)"""


def main() -> None:
    """Take them."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "data", best_binaries(), {"track_commit_timestamp": "on"}) as server:
            dsn = stage.build(server.dsn())
            with stage.connect_as(dsn, "gateway") as app:
                scenario.play(app)
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("set session_replication_role = replica")
                connection.execute(SPREAD)
                connection.execute("select audit.seal()")
            with stage.running_page(make_conninfo(dsn, user="demo_auditor")) as address:
                _take(address)


def _take(address: str) -> None:
    origin = address.partition("?")[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        entering = browser.new_context()
        entering.new_page().goto(address)
        for scheme, suffix in (("light", ""), ("dark", "-dark")):
            context = browser.new_context(
                viewport={"width": 1280, "height": 860},
                color_scheme="dark" if scheme == "dark" else "light",
                timezone_id="Europe/Oslo",
                storage_state=entering.storage_state(),
            )
            page = context.new_page()
            page.goto(origin)
            # (With the zone in its cookie it loads once more.)
            page.wait_for_load_state("networkidle")
            page.goto(origin)
            page.screenshot(path=IMAGES / f"log{suffix}.png")
            page.goto(f"{origin}?action=guardrail.updated")
            page.locator("#events .action").last.click()
            page.screenshot(path=IMAGES / f"event{suffix}.png")
            page.set_viewport_size({"width": 360, "height": 720})
            page.goto(f"{origin}?category=api_keys")
            page.screenshot(path=IMAGES / f"narrow{suffix}.png")
        browser.close()


if __name__ == "__main__":
    main()
