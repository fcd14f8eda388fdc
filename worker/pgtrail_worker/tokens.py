"""Where tokens come from: the database, the environment, a file of the secrets folder; changed for another by OAuth."""

import os
import stat
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlencode

from pgtrail_worker.answer import Answer
from pgtrail_worker.destination import Destination, OAuth, Secret
from pgtrail_worker.errors import NoToken
from pgtrail_worker.grant import read_grant
from pgtrail_worker.hosts import Host, covers

REFRESH_BEFORE_SECONDS = 60.0
"""A fetched token is fetched anew so long before it ends."""
MOST_FILE_BYTES = 65_536

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The environment and the folder that tokens and certificates may be read from.

    Who names a destination is not who placed the secrets. So each names the hosts that it may be sent to: a file in one
    beside it (``splunk-token.hosts``), an environment variable in another (``SPLUNK_TOKEN_HOSTS``).

    :param folder: files outside it are not read, whatever a destination says.
    """

    folder: Path
    environment: Mapping[str, str]

    def path(self, name: str) -> Path:
        """A file of the folder.

        :raises NoToken: it would be outside.
        """
        path = self.folder / name
        if ".." in PurePosixPath(name).parts or not path.is_relative_to(self.folder):
            raise NoToken(f"{name} is not in the secrets folder {self.folder}")
        return path

    def read(self, name: str, hosts: Sequence[Host]) -> Secret:
        """The one word in a file of the folder.

        :param hosts: where it is to be sent.
        :raises NoToken: there is none, or it may not be sent to one of the hosts.
        """
        words = self._text(self.path(name)).split()
        self.check_file(name, hosts)
        if len(words) != 1:
            raise NoToken(f"{self.folder / name} does not hold one token")
        return Secret(words[0])

    def check_file(self, name: str, hosts: Sequence[Host]) -> None:
        """Check that what a file of the folder holds may be shown to the hosts.

        :raises NoToken: it may not.
        """
        beside = self.path(name).with_name(f"{self.path(name).name}.hosts")
        try:
            entries = self._text(beside)
        except NoToken:
            entries = ""
        for host in hosts:
            if not covers(entries, host):
                verb = "add the line {} to {}" if entries.strip() else "put the line {} into a file {}"
                raise NoToken(f"{name} may not be sent to {host}: {verb.format(host, beside)}")

    def variable(self, name: str, hosts: Sequence[Host]) -> Secret:
        """An environment variable.

        :param hosts: where it is to be sent.
        :raises NoToken: it is not set, or may not be sent to one of the hosts.
        """
        value = self.environment.get(name, "").strip()
        if not value.isascii() or not value.isprintable() or not value:
            raise NoToken(f"the worker's environment has no {name}, or none that can be sent")
        entries = self.environment.get(f"{name}_HOSTS", "")
        for host in hosts:
            if not covers(entries, host):
                wanted = f"{entries.strip()},{host}" if entries.strip() else str(host)
                raise NoToken(f"{name} may not be sent to {host}: set {name}_HOSTS={wanted} for the worker")
        return Secret(value)

    def _text(self, path: Path) -> str:
        """A small file. (What is no file, a pipe for one, would never end.)"""
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise NoToken(f"{path} is not a file")
                return file.read(MOST_FILE_BYTES).decode("ascii")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not ASCII"
            raise NoToken(f"{path} can't be read: {reason}") from error


def default_secrets_folder() -> Path:
    """What systemd hands credentials over in, else where containers mount theirs."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/secrets"))


class Tokens:
    """The token of one destination, as requests carry it.

    :param hosts: all that get it, or what it is exchanged for: the destination's, and its OAuth server's.
    :param post: sends a request to an OAuth server.
    """

    def __init__(self, destination: Destination, secrets: Secrets, hosts: Sequence[Host], post: Post) -> None:
        self._destination = destination
        self._secrets = secrets
        self._hosts = hosts
        self._post = post
        self._fetched: Secret | None = None
        self._fresh_until = 0.0

    async def token(self) -> Secret | None:
        """The token; None where the destination has none.

        :raises NoToken: it is not where it should be, may not be sent there, or the OAuth server gives none.
        """
        own = self._own()
        if own is None or self._destination.oauth is None:
            return own
        if self._fetched is None or time.monotonic() >= self._fresh_until:
            self._fetched, seconds = await self._fetch(self._destination.oauth, own)
            self._fresh_until = time.monotonic() + seconds - REFRESH_BEFORE_SECONDS
        return self._fetched

    def forget(self) -> bool:
        """The receiver refuses the token. Whether another can be fetched."""
        had, self._fetched = self._fetched is not None, None
        return had

    def _own(self) -> Secret | None:
        """Read each time: what is rotated on disk holds at once."""
        source = self._destination.token
        if source.env:
            return self._secrets.variable(source.env, self._hosts)
        return self._secrets.read(source.file, self._hosts) if source.file else source.stored

    async def _fetch(self, oauth: OAuth, secret: Secret) -> tuple[Secret, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": oauth.client_id,
            "client_secret": str(secret),
            "scope": oauth.scope,
        }
        answer = await self._post(
            oauth.url,
            {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            urlencode(form).encode(),
        )
        said = f"HTTP {answer.status}" if answer.status else f"{answer.cause.value if answer.cause else ''}"
        if answer.status != 200:
            raise NoToken(f"{oauth.url} gave no token: {said}")
        try:
            grant = read_grant(answer.body)
        except ValueError as error:
            raise NoToken(f"{oauth.url} gave no token: {said}, {error}") from error
        return Secret(grant.token), grant.seconds
