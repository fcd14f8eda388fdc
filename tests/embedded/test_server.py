"""The server of our own: as root and as a user, without leftovers."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import psycopg
import pytest

from pgtrail.errors import NoPostgres, ServerError
from pgtrail.server import embedded
from pgtrail.server.binaries import best_binaries, find_binaries, readable_binaries
from pgtrail.server.data_folder import living_postmaster
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail.server.server_user import server_user

QUICK = {"fsync": "off"}


def running_with(marker):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(marker).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def watchdogs_of(parent):
    """The guards that a process has started."""

    def parent_of(pid):
        return int(re.search(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])

    return {watchdog for watchdog in running_with("parent_watchdog.py") if parent_of(watchdog) == parent}


def wait_until_gone(look):
    deadline = time.monotonic() + 30
    while look():
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.02)


def test_what_was_written_is_there_after_a_stop_and_after_a_crash(binaries, folder):
    with EmbeddedPostgres(folder / "data", binaries) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("create table kept (id int)")
            connection.execute("insert into kept values (1)")
        server.restart(signal.SIGQUIT)
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("insert into kept values (2)")
    with EmbeddedPostgres(folder / "data", binaries) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (2,)


def test_a_clean_stop_leaves_no_process_and_no_socket(binaries, folder):
    # The test session has a server of its own.
    others = watchdogs_of(os.getpid())
    with EmbeddedPostgres(folder / "data", binaries, QUICK) as server:
        sockets = server.socket_dir
        assert len(watchdogs_of(os.getpid()) - others) == 1
    assert running_with(folder) == []
    assert watchdogs_of(os.getpid()) == others
    assert not sockets.exists()


def test_a_parent_that_is_killed_leaves_no_process(binaries, folder):
    script = (
        "import sys, time, pathlib\n"
        "from pgtrail.server.binaries import find_binaries\n"
        "from pgtrail.server.embedded import EmbeddedPostgres\n"
        "chosen = next(b for b in find_binaries() if str(b) == sys.argv[2])\n"
        "server = EmbeddedPostgres(pathlib.Path(sys.argv[1]), chosen)\n"
        "server.start()\n"
        "print(server.socket_dir, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, folder / "data", str(binaries)], stdout=subprocess.PIPE)
    sockets = Path(parent.stdout.readline().decode().strip())
    assert sockets.is_dir()
    (watchdog,) = watchdogs_of(parent.pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until_gone(lambda: running_with(folder) or watchdog in running_with("parent_watchdog.py"))
    assert not sockets.exists()


def test_only_its_own_socket_is_open(binaries, folder):
    with EmbeddedPostgres(folder / "data", binaries, QUICK) as server:
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("show listen_addresses").fetchone() == ("",)
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(binaries, folder):
    with EmbeddedPostgres(folder / "data", binaries, QUICK) as server:
        with pytest.raises(ServerError, match=rf"process {server.pid}\) is already using"):
            EmbeddedPostgres(folder / "data", binaries, QUICK).start()
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("select 1")


def test_a_lock_file_that_a_crash_left_is_no_hindrance(binaries, folder):
    with EmbeddedPostgres(folder / "data", binaries, QUICK):
        pass
    (folder / "data" / "postmaster.pid").write_text("999999999\n")
    with EmbeddedPostgres(folder / "data", binaries, QUICK):
        pass


def test_another_program_that_has_got_the_number_of_a_dead_server_is_not_taken_for_it(folder):
    other = subprocess.Popen(["sleep", "600"])
    try:
        (folder / "postmaster.pid").write_text(f"{other.pid}\n")
        assert living_postmaster(folder) is None
    finally:
        other.kill()
        other.wait()


def test_two_at_once_over_a_new_folder_one_serves_it_and_the_other_says_so(binaries, folder):
    servers = [EmbeddedPostgres(folder / "data", binaries, QUICK) for _ in range(2)]

    def start(server):
        try:
            server.start()
        except ServerError as error:
            return error
        return server

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(start, servers)
    try:
        assert isinstance(first, ServerError) != isinstance(second, ServerError)
        assert [entry.name for entry in folder.iterdir()] == ["data"]
        with psycopg.connect(next(s for s in (first, second) if s in servers).dsn()) as connection:
            connection.execute("select 1")
    finally:
        for server in servers:
            server.stop()


def test_an_initdb_that_fails_leaves_nothing_in_its_place(binaries, folder, monkeypatch):
    monkeypatch.setattr(embedded, "_INITDB", ("--no-such-option",))
    with pytest.raises(ServerError, match="initdb failed"):
        EmbeddedPostgres(folder / "data", binaries, QUICK).start()
    assert list(folder.iterdir()) == []


def test_a_folder_of_another_version_is_refused_with_both_versions(binaries, folder):
    with EmbeddedPostgres(folder / "data", binaries, QUICK):
        pass
    (folder / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        ServerError, match=rf"created by PostgreSQL 9, and this server is {binaries.major} .*--data-dir"
    ):
        EmbeddedPostgres(folder / "data", binaries, QUICK).start()


def test_a_folder_that_holds_something_else_is_left_alone(binaries, folder):
    (folder / "data").mkdir()
    (folder / "data" / "thesis.txt").write_text("mine")
    before = (folder / "data").stat()
    with pytest.raises(ServerError, match="not empty and is not a database"):
        EmbeddedPostgres(folder / "data", binaries, QUICK).start()
    assert [file.name for file in (folder / "data").iterdir()] == ["thesis.txt"]
    after = (folder / "data").stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


def test_a_setting_that_the_server_refuses_is_said_in_one_line(binaries, folder):
    with pytest.raises(ServerError) as raised:
        EmbeddedPostgres(folder / "data", binaries, {"no_such_setting": "1"}).start()
    assert "no_such_setting" in raised.value.format_message()
    assert running_with(folder) == []


def test_where_no_server_is_the_error_says_how_to_get_one(folder, monkeypatch):
    monkeypatch.setenv("PGTRAIL_PG_BIN", str(folder))
    with pytest.raises(NoPostgres, match="PGTRAIL_PG_BIN"):
        best_binaries()


def test_a_folder_named_in_the_environment_is_the_only_one_that_is_used(binaries, monkeypatch):
    monkeypatch.setenv("PGTRAIL_PG_BIN", str(binaries.bin_dir))
    (found,) = find_binaries()
    assert (found.major, found.source) == (binaries.major, "environment")


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@AS_ROOT
def test_as_root_the_server_runs_as_somebody_else(binaries, folder):
    with EmbeddedPostgres(folder / "data", binaries, QUICK) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == server_user().uid != 0


@AS_ROOT
def test_as_root_binaries_out_of_the_servers_reach_are_copied_with_their_libraries(folder, monkeypatch):
    monkeypatch.delenv("PGTRAIL_PG_BIN", raising=False)
    installed = next(found for found in find_binaries() if found.source == "embedded")
    root = installed.bin_dir.parents[1]
    hidden = folder / "hidden"
    for part in (root, root.with_name(f"{root.name}.libs")):
        shutil.copytree(part, hidden / part.name)
    unreachable = type(installed)(hidden / root.name / "pginstall" / "bin", installed.major, "embedded")
    # As on a machine where everything is installed for its owner alone.
    for path in (hidden, *hidden.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setattr(platformdirs, "site_cache_path", lambda _: folder / "cache")
    mask = os.umask(0o077)
    try:
        copied = readable_binaries(unreachable, server_user())
    finally:
        os.umask(mask)
    assert copied.is_relative_to(folder / "cache")
    (folder / "cache").chmod(0o777)
    with pytest.raises(NoPostgres, match="by others than root"):
        readable_binaries(unreachable, server_user())
    (folder / "cache").chmod(0o755)
    with EmbeddedPostgres(folder / "data", unreachable, QUICK) as server, psycopg.connect(server.dsn()) as connection:
        connection.execute("select 1")


@AS_ROOT
def test_as_root_the_servers_log_is_no_way_to_another_file(binaries, folder):
    with EmbeddedPostgres(folder / "data", binaries, QUICK) as server:
        log = server.log_file
    private = folder / "private"
    private.write_text("mine")
    for make in (lambda: log.symlink_to(private), lambda: os.link(private, log), lambda: os.mkfifo(log)):
        log.unlink()
        make()
        with pytest.raises(ServerError):
            EmbeddedPostgres(folder / "data", binaries, QUICK).start()
    assert private.read_text() == "mine"


@AS_ROOT
def test_as_root_a_folder_out_of_the_servers_reach_is_refused_with_the_mend(binaries, folder):
    (folder / "private").mkdir(mode=0o700)
    with pytest.raises(ServerError, match=r"can't reach .*--data-dir"):
        EmbeddedPostgres(folder / "private" / "data", binaries, QUICK).start()


@AS_ROOT
def test_a_normal_user_needs_no_root(folder):
    nobody = pwd.getpwnam("nobody")
    # A checkout and an interpreter below root's home are not theirs to read: then from a copy.
    home = folder / "home"
    home.mkdir()
    packages = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if not all(server_user().can_reach(path) for path in (packages / "x", Path(os.path.realpath(sys.executable)))):
        pytest.skip("nobody can't reach this interpreter; run the tests as a normal user to see this one")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    done = subprocess.run(
        [sys.executable, "-m", "pgtrail_cli", "demo", "--once"],
        user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/",
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (home / ".local" / "share" / "pgtrail" / "PG_VERSION").exists()
