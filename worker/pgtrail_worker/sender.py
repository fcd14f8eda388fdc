"""Sends requests to one destination: headers, token, signature, compression; and judges the responses."""

import asyncio
import gzip
import json
from collections.abc import Callable
from datetime import datetime
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from pgtrail_worker import http
from pgtrail_worker.destination import Destination
from pgtrail_worker.errors import SecretUnavailable
from pgtrail_worker.judge import is_acknowledged, judge
from pgtrail_worker.response import Cause, Response
from pgtrail_worker.secret_store import SecretStore
from pgtrail_worker.signature import sign
from pgtrail_worker.tokens import Tokens
from pgtrail_worker.verdict import Delivered, Failed, Reads, Verdict

MAX_RESPONSE_BYTES = {Reads.STATUS: 4096, Reads.CODE: 65_536, Reads.ITEMS: 65_536}
"""How much of a response is read."""
ITEM_BYTES = 4096
"""How much more for each event, where a response has an item for each."""

MIN_COMPRESSED_BYTES = 1024

ACKNOWLEDGE_SECONDS = 120.0
"""An event that is not indexed within this time is sent again."""
MIN_ACKNOWLEDGE_POLL_SECONDS = 0.2
MAX_ACKNOWLEDGE_POLL_SECONDS = 5.0


class Sender:
    """Sends requests to one destination, over connections of its own. A context manager.

    :param now: the time, aware.
    :param timeout: seconds for a whole request.
    """

    def __init__(
        self,
        destination: Destination,
        secrets: SecretStore,
        now: Callable[[], datetime],
        timeout: float = http.TIMEOUT_SECONDS,
    ) -> None:
        self._destination = destination
        self._timeout = timeout
        self._secrets = secrets
        self._now = now
        files = self._path(destination.ca_file), self._path(destination.client_cert_file)
        self._client = http.new_client(http.Route(destination.allowed_networks, *files))
        urls = [destination.url, *([destination.oauth.url] if destination.oauth else [])]
        # (Nothing is sent to a URL without a host.)
        self._hosts = [host for host in map(http.host_of, urls) if host]
        self._tokens = Tokens(destination, secrets, self._hosts, lambda *request: http.post(self._client, *request))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, message_id: str, body: bytes, events: int) -> tuple[Response, Verdict]:
        """Send a request and wait for its verdict. Whatever goes wrong is in the verdict; nothing is raised.

        :param message_id: the receiver's idempotency key, where requests are signed.
        :param events: how many there are in the body.
        """
        try:
            return await self._send(message_id, body, events)
        except Exception as error:
            # A setting or a response that was not foreseen. (Its text may quote a secret.)
            response = Response(None, 0.0, Cause.UNUSABLE, type(error).__name__)
            return response, judge(response, self._destination.rules, events, self._now())

    async def _send(self, message_id: str, body: bytes, events: int) -> tuple[Response, Verdict]:
        response = await self._post(message_id, body, events)
        if response.status == 401 and self._tokens.forget():
            response = await self._post(message_id, body, events)
        verdict = judge(response, self._destination.rules, events, self._now())
        if isinstance(verdict, Delivered) and verdict.ack_id is not None:
            return response, await self._acknowledged(verdict.ack_id)
        return response, verdict

    async def request(self, message_id: str, body: bytes) -> tuple[dict[str, str], bytes]:
        """Headers and body of a request, as they would be sent.

        :raises SecretUnavailable: the token or the certificate is missing, or may not be sent there.
        """
        if self._destination.client_cert_file:
            self._secrets.check_file(self._destination.client_cert_file, self._hosts)
        headers = {"content-type": self._destination.content_type, "user-agent": "pgtrail"}
        headers |= self._own_headers(await self._tokens.token())
        if self._destination.gzip and len(body) > MIN_COMPRESSED_BYTES:
            # A megabyte takes some ten milliseconds, in which other destinations go on.
            body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
            headers["content-encoding"] = "gzip"
        if self._destination.signing_secrets:
            # A new timestamp for each attempt; the id stays the same, as the receiver's idempotency key.
            timestamp = int(self._now().timestamp())
            headers |= sign(message_id, timestamp, body, self._destination.signing_secrets)
        return headers, body

    async def _post(self, message_id: str, body: bytes, events: int = 1, url: str | None = None) -> Response:
        try:
            headers, body = await self.request(message_id, body)
        except SecretUnavailable as error:
            return Response(None, 0.0, Cause.NO_SECRET, str(error))
        reads = self._destination.rules.reads
        max_bytes = MAX_RESPONSE_BYTES[reads] + (events * ITEM_BYTES if reads is Reads.ITEMS else 0)
        return await http.post(self._client, url or self._destination.url, headers, body, self._timeout, max_bytes)

    def _own_headers(self, token: str | None) -> dict[str, str]:
        """The format's headers, without those that need a token where the destination has none."""
        return {
            name: text.replace("{token}", token or "").replace("{channel}", self._destination.channel)
            for name, text in self._destination.headers
            if token is not None or "{token}" not in text
        }

    async def _acknowledged(self, ack_id: int) -> Verdict:
        """Wait until Splunk has indexed what it accepted.

        https://help.splunk.com (HTTP Event Collector, indexer acknowledgement)
        """
        parts = urlsplit(self._destination.url)
        path = parts.path.removesuffix("/event").removesuffix("/event/1.0") + "/ack"
        url = urlunsplit((parts.scheme, parts.netloc, path, f"channel={self._destination.channel}", ""))
        query = json.dumps({"acks": [ack_id]}).encode()
        pause = MIN_ACKNOWLEDGE_POLL_SECONDS
        try:
            async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
                while not is_acknowledged(await self._post(f"ack_{ack_id}", query, url=url), ack_id):
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, MAX_ACKNOWLEDGE_POLL_SECONDS)
        except TimeoutError:
            return Failed(f"the receiver did not acknowledge within {ACKNOWLEDGE_SECONDS:g} s")
        return Delivered()

    def _path(self, name: str | None) -> str | None:
        try:
            return str(self._secrets.path(name)) if name else None
        except SecretUnavailable:
            # Outside the folder: treated as a missing file, which the first request reports.
            return f"{self._secrets.folder}/"
