"""Whatever is given for any option or argument of any command: done, or one line that says why not."""

import itertools

import click
import pytest
from click.testing import CliRunner

from pgtrail_cli.lazy import every_command
from pgtrail_cli.main import main

pytestmark = pytest.mark.any_server

VALUES = [
    "", " ", "-infinity", "infinity", "20000-01-01", "0044-03-15 BC", "nan", "inf", "-1", "1e999", "9" * 400, "9999999999d",
    "x" * 100_000, "\udcff", "é🦊\u202e", "\x1b[31m", "%s{0}\\", "'; select 1 --", "/", "[::1", "a=b",
]  # fmt: skip
NEEDED = {
    "url": "https://x.example", "reason": "r", "keep": "400d", "table": "nemo.team", "tables": "nemo.team", "file": "file",
    "where": "place", "node_dsn": "host=127.0.0.1 port=1",
}  # fmt: skip
"""What a parameter has to be given, where another one is tried."""
BY_COMMAND = {
    ("destination", "add"): {"name": "new"},
    ("retention", "hold"): {"name": "new"},
    ("show",): {"name": "1"},
    ("proof", "make"): {"name": "1"},
}
NOT_TO_BE_RUN = {("demo",), ("forward",), ("page",), ("shell",), ("migrate",), ("uninstall",)}
"""They serve, start servers, or take away what the others need: they find no database."""
COMMANDS = {path[1:]: command for path, command in every_command(main) if not isinstance(command, click.Group)}
_numbers = itertools.count()


@pytest.fixture
def settled(nemo):
    nemo.connect().execute("select audit.add_destination('siem', 'https://siem.example')")
    return nemo


def given(path, parameter, value):
    """A parameter as words."""
    if isinstance(parameter, click.Argument):
        return ["--", value] if value.startswith("-") else [value]
    return [parameter.opts[-1] + "=" + value if parameter.opts[-1].startswith("--") else parameter.opts[-1] + value]


def words(path, command, tried, value):
    options, arguments = [], []
    for parameter in command.params:
        words = options if isinstance(parameter, click.Option) else arguments
        if parameter is tried:
            words += given(path, parameter, value)
        elif parameter.required:
            name = parameter.name
            known = BY_COMMAND.get(path, {}).get(name) or NEEDED.get(name, "siem")
            words += given(path, parameter, f"new{next(_numbers)}" if known == "new" else known)
        elif parameter.name in ("yes", "dry_run"):
            options.append(parameter.opts[-1])
    return [*path, *options, *arguments]


def run(database, arguments, dsn=None):
    found = CliRunner().invoke(
        main,
        arguments,
        env={"PGTRAIL_DSN": dsn or database.dsn(), "PGCONNECT_TIMEOUT": "2"},
        standalone_mode=True,
        input="",
    )
    assert found.exception is None or isinstance(found.exception, SystemExit), (arguments, found.exc_info)
    assert "Traceback" not in found.output
    return found


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_value_is_taken_or_refused_in_one_line(settled, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[path]
    dsn = "host=127.0.0.1 port=1 user=x dbname=x" if path in NOT_TO_BE_RUN else None
    failed = []
    for parameter in command.params:
        if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
            continue
        for value in VALUES:
            arguments = words(path, command, parameter, value)
            try:
                found = run(settled, arguments, dsn)
                if found.exit_code:
                    assert found.exit_code in (1, 2)
                    assert len([line for line in found.stderr.splitlines() if line.startswith("pgtrail: ")]) >= 1, (
                        found.stderr
                    )
                    assert all(line.startswith("pgtrail: ") for line in found.stderr.splitlines()), found.stderr
            except AssertionError as error:
                failed.append((parameter.name, value[:20], str(error)[:300]))
    assert failed == []
    # And nothing that was stored keeps a command from showing it.
    for shows in (
        ["destination", "show"],
        ["destination", "show", "siem"],
        ["log"],
        ["status"],
        ["doctor"],
    ):
        assert run(settled, shows).exit_code in (0, 1)
