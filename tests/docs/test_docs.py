"""What the documents say is so."""

import re

import click
import pytest
from tests.documents import PROJECT, blocks, psql

from pgtrail_cli.main import main

DOCUMENTS = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def test_the_readme_shows_what_its_sql_really_prints(db):
    readme = PROJECT / "README.md"
    printed = psql(db.server, db.dsn(), blocks(readme, "sql")[0])
    assert printed.endswith(blocks(readme, "text")[0] + "\n")


def test_every_statement_of_the_guide_runs(db):
    su = db.connect()
    su.add_notice_handler(lambda _: None)
    su.execute(
        "create table public.api_key (id int primary key, org_id text, name text, key_hash text, token_count_hash text, "
        "spend numeric, last_used_at timestamptz, updated_at timestamptz, config jsonb, disabled boolean, team_id int, updated_by text)"
    )
    su.execute("create table public.team (id int primary key, org_id text, name text)")
    su.execute('create table public."user" (id int primary key, email text)')
    su.execute(
        'create table public.team_member (team_id int references public.team, user_id int references public."user", '
        "primary key (team_id, user_id))"
    )
    su.execute("create table public.budget (id int primary key, org_id text, name text, team_id int, key_id int)")
    su.execute("insert into public.api_key (id) values (1)")
    statements = blocks(PROJECT / "docs" / "dba" / "guide.md", "sql")
    assert len(statements) == 8
    for statement in statements:
        # A role belongs to the whole server, where other tests run.
        su.execute(statement.replace("ann", f"ann_{db.name}") if "create role" in statement else statement)
    su.execute(f"revoke audit_reader from ann_{db.name}")
    su.execute(f"drop role ann_{db.name}")
    events = su.execute("select action, actor_label, reason from audit.event where category = 'api_keys'").fetchall()
    assert events == [("key.updated", "ann@acme.example", "INC-4711")]


def test_the_list_of_errors_is_complete():
    raised = {
        code for file in (PROJECT / "sql").rglob("*.sql") for code in re.findall(r"'(PT\d{3})'", file.read_text())
    }
    listed = re.findall(r"^\| (PT\d{3}) \|", (PROJECT / "docs" / "reference" / "errors.md").read_text(), re.MULTILINE)
    assert listed == sorted(raised)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_what_a_document_names_is_there(document):
    text = document.read_text()
    for image in re.findall(r'(?:src|srcset)="([^"]+)"', text):
        assert (document.parent / image).is_file(), image
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = document.parent / target if target else document
        assert linked.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for name in re.findall(r"\b(?:sql|migrations|lib|worker|web|cli|tests|bench|docs)/[\w./-]*\w", text):
        assert (PROJECT / name).exists(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_command_that_a_document_shows_exists(document, pgtrail):
    shown = {
        re.split("[#|]", line)[0]
        for block in blocks(document, "console")
        for line in block.splitlines()
        if line.startswith("pgtrail ")
    }
    for line in shown:
        words = line.split()[1:]
        command = main
        while words and isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        known = {name for parameter in command.params for name in parameter.opts}
        used = {word for word in words if word.startswith("-") and word != "-"}
        assert used <= known, line
