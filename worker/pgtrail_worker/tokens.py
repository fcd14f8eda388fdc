"""Where tokens come from: the database, the environment, a file of the secrets folder; changed for another by OAuth."""

import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlencode

from pgtrail_worker.answer import Answer
from pgtrail_worker.destination import Destination, OAuth, Secret
from pgtrail_worker.errors import NoToken

REFRESH_BEFORE_SECONDS = 60.0
"""A fetched token is fetched anew so long before it ends."""

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The environment and the folder that tokens and certificates may be read from.

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

    def read(self, name: str) -> Secret:
        """The first line of a file of the folder.

        :raises NoToken: there is none.
        """
        try:
            lines = self.path(name).read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not ASCII"
            raise NoToken(f"{self.folder / name} can't be read: {reason}") from error
        if len(lines) != 1:
            raise NoToken(f"{self.folder / name} does not hold one token")
        return Secret(lines[0])

    def variable(self, name: str) -> Secret:
        """An environment variable.

        :raises NoToken: it is not set.
        """
        value = self.environment.get(name, "").strip()
        if not value.isascii() or not value.isprintable() or not value:
            raise NoToken(f"the worker's environment has no {name}, or none that can be sent")
        return Secret(value)


def default_secrets_folder() -> Path:
    """What systemd hands credentials over in, else where containers mount theirs."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/secrets"))


class Tokens:
    """The token of one destination, as requests carry it.

    :param post: sends a request to an OAuth server.
    """

    def __init__(self, destination: Destination, secrets: Secrets, post: Post) -> None:
        self._destination = destination
        self._secrets = secrets
        self._post = post
        self._fetched: Secret | None = None
        self._fresh_until = 0.0

    async def token(self) -> Secret | None:
        """The token; None where the destination has none.

        :raises NoToken: it is not where it should be, or the OAuth server gives none.
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
            return self._secrets.variable(source.env)
        return self._secrets.read(source.file) if source.file else source.stored

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
        try:
            granted = json.loads(answer.body)
            token, seconds = granted["access_token"], float(granted.get("expires_in", 300))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"HTTP {answer.status}" if answer.status else f"{answer.cause.value if answer.cause else ''}"
            raise NoToken(f"{oauth.url} gave no token: {what}") from error
        if answer.status != 200 or not isinstance(token, str):
            raise NoToken(f"{oauth.url} gave no token: HTTP {answer.status}")
        return Secret(token), seconds
