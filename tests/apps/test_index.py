"""The index of docs/apps: complete, and what it shows of a forgotten actor is so."""

import re

import psycopg
import pytest
from tests.apps.conftest import APPS
from tests.documents import blocks, psql

pytestmark = pytest.mark.any_server

INDEX = APPS / "README.md"


def test_the_index_names_every_page():
    named = re.findall(r"^\| [^|]+ \| \[(\S+)\]\(\1\) \|", INDEX.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(page.name for page in APPS.glob("*.md") if page != INDEX)


@pytest.mark.parametrize("page", sorted(APPS.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_happens_if_the_actor_is_forgotten(page):
    text = page.read_text()
    assert page == INDEX or re.search(r"^Forgotten.*\]\(README.md#if-it-is-forgotten\)", text, re.MULTILINE | re.DOTALL)


def test_a_forgotten_actor_shows_as_the_index_has_it(db):
    su = db.connect()
    su.execute("create table public.api_key (id int primary key, org_id text, name text)")
    su.execute("select audit.track('public.api_key', 'key', 'api_keys')")
    forgotten, search = blocks(INDEX, "sql")
    assert psql(db.server, db.dsn(), forgotten) == blocks(INDEX, "text")[0] + "\n"
    found = su.execute(search.replace("'app'", "'postgres'")).fetchall()
    assert ("key.created", 1) in [row[:2] for row in found]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [("7", "UndefinedFunction"), ("'usr_ann', ip => '10.0.0.1, 10.0.0.2'", "InvalidTextRepresentation")],
)
def test_what_the_index_warns_of_is_an_error(su, arguments, error):
    with pytest.raises(getattr(psycopg.errors, error)):
        su.execute(f"select audit.set_actor({arguments})")
