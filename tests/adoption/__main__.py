"""Adopt pgtrail on real applications, drive them as their administrators do, and say what the log makes of it.

Each application is installed from PyPI into an environment of its own, migrated and served by its own commands.
Exit status 1 if a secret is in the log, a step failed, or the database did not take what is done to databases.

Example:
  python -m tests.adoption label-studio
"""

import argparse
import socket
import sys
import tempfile
from pathlib import Path

from tests.adoption import label_studio, log, operations, pretix
from tests.adoption.application import Application
from tests.adoption.drive import Drive
from tests.adoption.ground import BUILD, Failed, Ground
from tests.adoption.report import Result, details, table

from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres

APPLICATIONS = {each.name: each for each in (label_studio.APPLICATION, pretix.APPLICATION)}
WANTED_SECRETS = 20
COUNTS = """
    select count(*), count(*) filter (where exists (select from audit.tracked_table where relation = pg_class.oid))
    from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("applications", nargs="*", choices=[[], *APPLICATIONS], help="all without it")
    chosen = parser.parse_args().applications or list(APPLICATIONS)
    report, results = BUILD / "report.txt", []
    for name in chosen:
        results.append(adopt(APPLICATIONS[name]))
        report.write_text("\n\n".join([table(results), *map(details, results)]) + "\n")
    print(table(results))
    for result in results:
        print(*(f"{result.name}: {error}"[:300] for error in result.errors), sep="\n", file=sys.stderr)
    print(f"The details are in {report}.", file=sys.stderr)
    return int(any(result.errors for result in results))


def adopt(application: Application) -> Result:
    """All of it, for one application, on a server of its own."""
    result = Result(application.name, wanted=WANTED_SECRETS)
    with tempfile.TemporaryDirectory(prefix="pgtrail-adoption-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "data", best_binaries(), {"fsync": "off"}) as server:
            try:
                _adopt(application, Ground(application.name, server, _free_port()), result)
            except Failed as error:
                result.broken = str(error)
    return result


def _adopt(application: Application, ground: Ground, result: Result) -> None:
    def say(what: str) -> None:
        print(f"{application.name}: {what} …", file=sys.stderr)

    say("installing")
    result.version = ground.install(application.packages)
    ground.make_database()
    application.prepare(ground)
    say("migrating")
    application.migrate(ground)
    # Once down and up now, so that whatever order of columns that leaves is there before and after.
    application.migrate(ground, *application.reversible)
    application.migrate(ground)
    before = operations.schema(ground)
    say("tracking")
    _track(ground, result)
    say("driving")
    drive = Drive(ground, application.secret_columns)
    with ground.serving(application.serve(ground)):
        application.drive(drive, ground)
    result.steps, result.never_written = drive.steps, drive.never_written
    say("looking for secrets")
    result.written = len(drive.written)
    leaks = _secrets(ground, drive)
    result.leaks = {
        f"{drive.written[secret]} ({secret[:4]}…)": log.places(drive.connection, form) for secret, form in leaks.items()
    }
    say("migrating, restoring, uninstalling")
    _operate(application, ground, before, result)
    say("tracking it once more, with its rows")
    file = _track(ground, result)
    leaks = _secrets(ground, drive) | log.find(drive.written, file)
    result.leaks_with_rows = [f"{drive.written[secret]} ({secret[:4]}…)" for secret in leaks]
    drive.connection.close()


def _track(ground: Ground, result: Result) -> str:
    """What the README says: migrate, suggest, psql; the file."""
    ground.pgtrail("migrate")
    file = ground.folder / "tracking.sql"
    file.write_text(ground.pgtrail("suggest", "public"))
    ground.postgres("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file), ground.dsn)
    with ground.connect() as connection:
        counted = connection.execute(COUNTS).fetchone()
    assert counted is not None
    result.tables, result.tracked = counted
    return file.read_text()


def _secrets(ground: Ground, drive: Drive) -> dict[str, str]:
    """The secrets that are in schema audit as pg_dump writes it, rows that were there before included, and in which form."""
    tracked = drive.connection.execute("select name from audit.tracked_table where not starts_with(name, 'audit.')")
    ground.pgtrail("baseline", *(name for (name,) in tracked))
    dump = ground.postgres("pg_dump", "--schema=audit", "--data-only", ground.dsn)
    # Texts in JSON are escaped twice over: by JSON, and by COPY.
    return log.find(drive.written, f"{dump}\n{dump.replace(chr(92) * 2, chr(92))}")


def _operate(application: Application, ground: Ground, before: str, result: Result) -> None:
    tried = {
        "migrations down and up": lambda: operations.migrated_down_and_up(
            ground,
            lambda: application.migrate(ground, *application.reversible),
            lambda: application.migrate(ground),
            application.write,
        ),
        "dump and restore": lambda: operations.dumped_and_restored(ground, application.write),
        "uninstall identical": lambda: operations.uninstalled(ground, before),
    }
    for name, attempt in tried.items():
        try:
            attempt()
            result.operations[name] = None
        except Failed as error:
            result.operations[name] = str(error)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
