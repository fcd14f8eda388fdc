"""What the documents say is so."""

import re
import shlex

import click
import pytest
from tests.documents import PROJECT, blocks, fences, psql

from pgtrail_cli.main import main

pytestmark = pytest.mark.any_server

DOCUMENTS = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def test_the_readme_shows_what_its_sql_really_prints(db):
    readme = PROJECT / "README.md"
    printed = psql(db.server, db.dsn(), blocks(readme, "sql")[0])
    assert printed.endswith(blocks(readme, "text")[0] + "\n")


DOCS = PROJECT / "docs"
START = DOCS / "start" / "README.md"
BESIDES = PROJECT / "tests" / "docs" / "example.sql"
FOLDERS = ("start", "dba", "audit", "security", "operate", "internals")
PAGES = [page for folder in FOLDERS for page in sorted((DOCS / folder).rglob("*.md"))]
TESTED_ELSEWHERE = {"coming-from.md"}
ALONE = re.compile(
    r"pgtrail (page|forward|hub|shell|demo|import|archive|uninstall|preset|proof"
    r"|destination (test|replay|redrive|rebase|rotate-secret|set-token))\b|.* (-f|--follow|--archive|--anchor|--dsn)\b"
)
"""Commands that need more than a database with some events: a browser, a receiver, a file, another tool."""
IN_ANOTHER_ENGINE = re.compile("-- in (DuckDB|Trino|Athena)\\n")
FINDING = ("pgtrail doctor", "pgtrail status", "pgtrail verify", "pgtrail retention run")
"""Commands that exit with status 1 because of what they find."""


def run_as_shown(document, db, pgtrail, folder):
    """Run the SQL and the commands of a document in their order; what psql prints is what is shown below."""
    role = f"ann_{db.name}"
    for language, text, expected in fences(document):
        if language == "sql" and not IN_ANOTHER_ENGINE.match(text):
            # A role belongs to the whole server, where other tests run.
            printed = psql(db.server, db.dsn(), re.sub(r"\bann\b(?!@)", role, text))
            assert not expected or printed == expected + "\n", f"{document.name} shows:\n{printed}"
        for line in text.splitlines() if language == "console" else ():
            command = re.split(r" #|[|>]", line.removeprefix("$ "))[0].strip()
            if command.startswith("pgtrail ") and not ALONE.match(command):
                words = [str(folder / word) if word.endswith(".csv") else word for word in shlex.split(command)]
                done = pgtrail(*words[1:], dsn=db.dsn(), input="y\n")
                assert done.returncode == 0 or command.startswith(FINDING), (command, done.stderr)
    su = db.connect()
    if su.execute("select from pg_roles where rolname = %s", [role]).fetchone():
        su.execute(f"drop owned by {role}; drop role {role}")


@pytest.mark.parametrize("document", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_the_examples_of_a_page_run(document, db, pgtrail, tmp_path):
    if document.name in TESTED_ELSEWHERE:
        return
    if document != START:
        run_as_shown(START, db, pgtrail, tmp_path)
        db.connect().execute(BESIDES.read_text())
    run_as_shown(document, db, pgtrail, tmp_path)


def test_the_list_of_functions_is_what_is_installed(db):
    installed = (
        db.connect()
        .execute(
            """
        select format('audit.%s(%s)%s', proname, pg_get_function_arguments(oid), ' → ' || pg_get_function_result(oid)),
            obj_description(oid, 'pg_proc')
        from pg_proc
        where pronamespace = 'audit'::regnamespace
        """
        )
        .fetchall()
    )
    listed = re.sub(r"\[[^]]*\]\([^)]*\)", "", (DOCS / "reference" / "functions.md").read_text())
    names = re.findall(r"^`audit\.(\w+)\(", listed, re.MULTILINE)
    assert sorted(names) == sorted(re.match(r"audit\.(\w+)", signature)[1] for signature, _ in installed)
    for signature, comment in installed:
        assert re.sub(r"docs/\S+\.md", "", comment) in listed, signature


def test_what_the_architecture_points_to_is_there():
    rows = re.findall(r"^\| (?:Wh|How|…).*\|$", (DOCS / "internals" / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 33
    for row in rows:
        question, where, functions = (cell.strip() for cell in row.strip("|").split("|"))
        files = re.findall(r"`([\w./-]+\.(?:sql|py))`", where + functions)
        text = "".join((PROJECT / file).read_text() for file in files)
        for name in re.findall(r"`(?:\w+\.)?(\w+)(?:\(\))?`", functions):
            assert not files or name in text, (question, name)


def test_the_list_of_errors_is_complete():
    raised = {
        code for file in (PROJECT / "sql").rglob("*.sql") for code in re.findall(r"'(PT\d{3})'", file.read_text())
    }
    listed = re.findall(r"^\| (PT\d{3}) \|", (PROJECT / "docs" / "reference" / "errors.md").read_text(), re.MULTILINE)
    assert listed == sorted(raised)


@pytest.mark.parametrize("document", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_a_page_says_whom_it_is_for_and_shows_an_example(document):
    text = document.read_text()
    assert re.match(r"# .+\n\n(<picture>.*</picture>\n\n)?For ", text, re.DOTALL)
    example = re.search(r"^```(sql|console|text|python)$", text, re.MULTILINE)
    assert example
    assert text.count("\n", 0, example.start()) < 25


def test_no_page_is_long():
    assert {
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if len(page.read_text().splitlines()) > 300
    } == set()


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
    for name in re.findall(
        r"\b(?:sql|migrations|lib|worker|web|cli|tests|bench|docs)/[\w./-]*\w", re.sub(r"https?:\S*", "", text)
    ):
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
