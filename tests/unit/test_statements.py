"""An SQL file is taken apart as the server would."""

import pytest

from pgtrail_cli.statements import NotSql, split

WHOLE = [
    "select 'a;b', 'it''s; one'",
    r"select 'a backslash ends nothing: \'",
    r"select E'but here: \'; one'",
    'select "a;b", "a""b;c"',
    "select $$x; y$$, $tag$ $$; z $tag$, $1",
    "select /* ; /* nested; */ ; */ 1 -- ; and '",
    "do $do$ begin perform 1; end $do$",
    "create function f() returns int language sql begin atomic select 1; select case when true then 2 end; end",
    "create or replace procedure p() begin atomic insert into t values (1); end",
    "create rule r as on insert to t do also (select 1; select 2)",
    "select a$b, ünïcode from t",
    "select 1.5e3, 1 - 1",
]


@pytest.mark.parametrize("statement", WHOLE)
def test_a_semicolon_within_ends_no_statement(statement):
    assert [found.text for found in split(f"{statement}\n; select 'after';", "it")] == [
        f"{statement}\n",
        "select 'after'",
    ]


def test_each_knows_its_line():
    found = split("-- why\n\nselect 1;\n\n\nselect\n2;;\n-- the end\n", "it")
    assert [(statement.line, statement.first_line) for statement in found] == [(3, 1), (6, 6)]


def test_nothing_is_no_statement():
    assert split("", "it") == split(" ;\n-- just talk\n/* and more */", "it") == []


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("select 1;\n\\d\n", 2, "psql"),
        ("select 1 \\gexec", 1, "psql"),
        ("select 1;\ncopy t from stdin;\n1\n\\.\n", 2, "data"),
        ("\n\nselect 'open;\n", 3, "not closed"),
        ('select "open;\n', 1, "not closed"),
        ("select 1;\n/* open /* */\n", 2, "not closed"),
        ("select $a$ open $b$;\n", 1, "not closed"),
    ],
)
def test_what_is_no_sql_is_refused_with_its_line(text, line, reason):
    with pytest.raises(NotSql, match=rf"it, line {line}: .*{reason}.*; nothing was applied"):
        split(text, "it")
