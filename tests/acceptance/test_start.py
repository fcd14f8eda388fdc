"""What the fork server can't show: that the command starts in an interpreter of its own, and that both are the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import command

from pgtrail_cli.main import MODULES

CLOSED = "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); os.execv(sys.executable, sys.argv[1:])"
EACH_ALONE = """
import os, sys
from importlib import import_module
import pgtrail_cli.main
for module in sys.argv[1:]:
    if os.fork() == 0:
        import_module(f"pgtrail_cli.commands.{module}")
        os._exit(0)
    _, status = os.wait()
    assert status == 0, module
"""


def alone(*arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--version"], 0), (["log", "--dsn", "host=/nowhere user=ann"], 1), (["log", "--sincere"], 2), ([], 2)],
    ids=["done", "failed", "not understood", "nothing"],
)
def test_a_forked_run_is_as_one_of_an_interpreter_of_its_own(arguments, status):
    forked, own = command.run(*arguments), alone(*command.COMMAND, *arguments)
    assert (forked.returncode, forked.stdout, forked.stderr) == (own.returncode, own.stdout, own.stderr)
    assert own.returncode == status


def test_a_reader_that_goes_away_is_no_error_to_either():
    own = alone(sys.executable, "-c", CLOSED, *command.COMMAND, "--version")
    reading, writing = os.pipe()
    os.close(reading)
    forked = command.start("--version", stdout=writing, stderr=command.PIPE, text=True)
    os.close(writing)
    assert (forked.communicate(timeout=30)[1], forked.returncode) == (own.stderr, own.returncode) == ("", 1)


@pytest.mark.parametrize("arguments", [["--help"], ["preset"]], ids=" ".join)
def test_a_full_disk_is_said_in_one_line(arguments):
    with Path("/dev/full").open("wb") as full:
        run = command.start(*arguments, stdout=full, stderr=command.PIPE, text=True)
        said = run.communicate(timeout=30)[1]
    assert (run.returncode, said.count("\n")) == (1, 1)
    assert "the disk is full" in said


def test_a_run_has_its_own_environment_folder_and_umask_and_no_files_of_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = os.umask(0o027)
    try:
        run = command.start("proof", "check", "-", stdin=command.PIPE, stdout=command.PIPE, env={"PATH": "/nowhere"})
    finally:
        os.umask(mask)
    process = Path(f"/proc/{run.pid}")
    assert os.readlink(process / "cwd") == str(tmp_path)
    assert "Umask:\t0027" in (process / "status").read_text()
    run.kill()
    assert run.communicate(b"", timeout=30) == (b"", None)
    assert run.returncode == -9


def test_what_an_interpreter_reads_at_its_start_starts_one():
    run = command.start("--version", stdout=command.PIPE, env=os.environ | {"PYTHONWARNINGS": "error"})
    assert isinstance(run, subprocess.Popen)
    assert run.communicate(timeout=30)[0].startswith(b"pgtrail, version")


def test_the_installed_command_is_the_same():
    done = alone(Path(sys.prefix) / "bin" / "pgtrail", "--version")
    assert (done.returncode, done.stdout) == (0, command.run("--version").stdout)


def test_each_command_is_imported_with_nothing_of_the_others():
    modules = sorted(set(MODULES.values()))
    done = alone(sys.executable, "-c", EACH_ALONE, *modules)
    assert done.returncode == 0, done.stderr
