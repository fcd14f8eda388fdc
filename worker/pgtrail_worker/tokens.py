"""The token of a destination, as requests carry it: its own secret, or what OAuth exchanges it for."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlencode

from pgtrail_worker.destination import Destination, OAuth, Secret
from pgtrail_worker.errors import SecretUnavailable
from pgtrail_worker.hosts import Host
from pgtrail_worker.oauth import parse_access_token
from pgtrail_worker.response import Response
from pgtrail_worker.secret_store import SecretStore

REFRESH_BEFORE_SECONDS = 60.0
"""How long before it expires a fetched token is replaced."""

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[Response]]


class Tokens:
    """The tokens of one destination.

    :param hosts: all that get the token, or what it is exchanged for: the destination's, and its OAuth server's.
    :param post: sends a request to an OAuth server.
    """

    def __init__(self, destination: Destination, secrets: SecretStore, hosts: Sequence[Host], post: Post) -> None:
        self._destination = destination
        self._secrets = secrets
        self._hosts = hosts
        self._post = post
        self._fetched: Secret | None = None
        self._fresh_until = 0.0

    async def token(self) -> Secret | None:
        """The token; None where the destination has none.

        :raises SecretUnavailable: it is missing, may not be sent there, or the OAuth server issues none.
        """
        own = self._own()
        if own is None or self._destination.oauth is None:
            return own
        if self._fetched is None or time.monotonic() >= self._fresh_until:
            self._fetched, seconds = await self._fetch(self._destination.oauth, own)
            self._fresh_until = time.monotonic() + seconds - REFRESH_BEFORE_SECONDS
        return self._fetched

    def forget(self) -> bool:
        """The receiver refused the token. Returns whether another can be fetched."""
        had, self._fetched = self._fetched is not None, None
        return had

    def _own(self) -> Secret | None:
        """Read each time, so that a secret that is rotated on disk is used at once."""
        source = self._destination.token
        if source.env:
            return self._secrets.variable(source.env, self._hosts)
        return self._secrets.file(source.file, self._hosts) if source.file else source.stored

    async def _fetch(self, oauth: OAuth, secret: Secret) -> tuple[Secret, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": oauth.client_id,
            "client_secret": str(secret),
            "scope": oauth.scope,
        }
        response = await self._post(
            oauth.url,
            {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            urlencode(form).encode(),
        )
        error = f"{oauth.url} issued no token: {response.cause.value if response.cause else f'HTTP {response.status}'}"
        if response.status != 200:
            raise SecretUnavailable(error)
        try:
            token, seconds = parse_access_token(response.body)
        except ValueError as invalid:
            raise SecretUnavailable(f"{error}, {invalid}") from invalid
        return Secret(token), seconds
