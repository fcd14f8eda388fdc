"""What is said of an application: how it is installed, migrated, served, driven."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.adoption.drive import Drive
from tests.adoption.ground import Ground


@dataclass(frozen=True)
class Application:
    """One application from PyPI.

    :param packages: the application first, then what it needs to be served.
    :param prepare: fills in the ground's environment.
    :param migrate: runs the application's migrations, up to one of an app (`users`, `0003`) or all.
    :param reversible: the app, and its migration before the last.
    :param serve: the command of the server.
    :param secret_columns: where it keeps secrets, also those that it makes by itself.
    :param drive: what its administrators do.
    :param write: a statement that any tracked database of it can take.
    """

    name: str
    packages: Sequence[str]
    prepare: Callable[[Ground], None]
    migrate: Callable[..., None]
    reversible: tuple[str, str]
    serve: Callable[[Ground], Sequence[str]]
    secret_columns: Sequence[str]
    drive: Callable[[Drive, Ground], None]
    write: str
