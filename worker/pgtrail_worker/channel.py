"""The way to one destination: headers, token, signature, compression; and what the answer means."""

import asyncio
import gzip
import json
from collections.abc import Callable
from datetime import datetime
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from pgtrail_worker import http
from pgtrail_worker.answer import Answer, Cause
from pgtrail_worker.destination import Destination
from pgtrail_worker.errors import NoToken
from pgtrail_worker.http import Route
from pgtrail_worker.signature import sign
from pgtrail_worker.tokens import Secrets, Tokens
from pgtrail_worker.verdict import Delivered, Failed, Reads, Verdict, is_acknowledged, judge

ANSWER_BYTES = {Reads.STATUS: 4096, Reads.CODE: 65_536, Reads.ITEMS: 65_536}
"""How much of a response is read."""
ITEM_BYTES = 4096
"""How much more for each event, where a response has an item for each."""

WORTH_COMPRESSING_BYTES = 1024

ACKNOWLEDGED_WITHIN_SECONDS = 120.0
"""An event that is not indexed for so long is sent again."""

FIRST_QUESTION_SECONDS = 0.2
LAST_QUESTION_SECONDS = 5.0
"""How long to wait before asking for an acknowledgement, the first time and at the most."""


class Channel:
    """Sends requests to one destination. Its connections are nobody else's. A context manager.

    :param now: the time, aware.
    :param timeout: seconds for a whole request.
    """

    def __init__(
        self,
        destination: Destination,
        secrets: Secrets,
        now: Callable[[], datetime],
        timeout: float = http.TIMEOUT_SECONDS,
    ) -> None:
        self._destination = destination
        self._timeout = timeout
        self._secrets = secrets
        self._now = now
        self._client = http.client(self._route())
        urls = [destination.url, *([destination.oauth.url] if destination.oauth else [])]
        # (A URL that leads nowhere gets nothing.)
        self._hosts = [host for host in map(http.host_of, urls) if host]
        self._tokens = Tokens(destination, secrets, self._hosts, lambda *request: http.post(self._client, *request))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def send(self, message_id: str, body: bytes, events: int) -> tuple[Answer, Verdict]:
        """Send a request and wait for what becomes of it. Whatever happens is a verdict, never an exception.

        :param message_id: the receiver's idempotency key, where requests are signed.
        :param events: how many there are in the body.
        """
        try:
            return await self._send(message_id, body, events)
        except Exception as error:
            # A setting or a response that nothing foresaw. (Its text may quote a secret.)
            unforeseen = Answer(None, 0.0, Cause.UNUSABLE, type(error).__name__)
            return unforeseen, judge(unforeseen, self._destination.rules, events, self._now())

    async def _send(self, message_id: str, body: bytes, events: int) -> tuple[Answer, Verdict]:
        answer = await self._post(message_id, body, events)
        if answer.status == 401 and self._tokens.forget():
            answer = await self._post(message_id, body, events)
        verdict = judge(answer, self._destination.rules, events, self._now())
        if isinstance(verdict, Delivered) and verdict.ack_id is not None:
            return answer, await self._acknowledged(verdict.ack_id)
        return answer, verdict

    async def request(self, message_id: str, body: bytes) -> tuple[dict[str, str], bytes]:
        """Headers and body of a request, as they would be sent.

        :raises NoToken: the token or the certificate is not where it should be, or may not be sent there.
        """
        if self._destination.client_cert_file:
            self._secrets.check_file(self._destination.client_cert_file, self._hosts)
        headers = {"content-type": self._destination.content_type, "user-agent": "pgtrail"}
        headers |= self._fill(await self._tokens.token())
        if self._destination.gzip and len(body) > WORTH_COMPRESSING_BYTES:
            # A megabyte takes some ten milliseconds, in which other destinations go on.
            body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
            headers["content-encoding"] = "gzip"
        if self._destination.signing_secrets:
            # A fresh timestamp for each attempt; the id stays, it is the receiver's idempotency key.
            timestamp = int(self._now().timestamp())
            headers |= sign(message_id, timestamp, body, self._destination.signing_secrets)
        return headers, body

    async def _post(self, message_id: str, body: bytes, events: int = 1, url: str | None = None) -> Answer:
        try:
            headers, body = await self.request(message_id, body)
        except NoToken as error:
            return Answer(None, 0.0, Cause.TOKEN, str(error))
        return await http.post(
            self._client,
            url or self._destination.url,
            headers,
            body,
            self._timeout,
            most_answer_bytes=self._answer_bytes(events),
        )

    def _answer_bytes(self, events: int) -> int:
        reads = self._destination.rules.reads
        return ANSWER_BYTES[reads] + (events * ITEM_BYTES if reads is Reads.ITEMS else 0)

    def _fill(self, token: str | None) -> dict[str, str]:
        """The format's headers; one that wants a token is left out where there is none."""
        return {
            name: text.replace("{token}", token or "").replace("{channel}", self._destination.channel)
            for name, text in self._destination.headers
            if token is not None or "{token}" not in text
        }

    async def _acknowledged(self, ack_id: int) -> Verdict:
        """Splunk answers before it has indexed; it says later whether it has.

        https://help.splunk.com (HTTP Event Collector, indexer acknowledgement)
        """
        parts = urlsplit(self._destination.url)
        path = parts.path.removesuffix("/event").removesuffix("/event/1.0") + "/ack"
        url = urlunsplit((parts.scheme, parts.netloc, path, f"channel={self._destination.channel}", ""))
        question = json.dumps({"acks": [ack_id]}).encode()
        pause = FIRST_QUESTION_SECONDS
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_SECONDS):
                while not is_acknowledged(await self._post(f"ack_{ack_id}", question, url=url), ack_id):
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, LAST_QUESTION_SECONDS)
        except TimeoutError:
            return Failed(f"the receiver did not acknowledge within {ACKNOWLEDGED_WITHIN_SECONDS:g} s")
        return Delivered()

    def _route(self) -> Route:
        named = self._destination.ca_file, self._destination.client_cert_file
        ca_file, client_cert_file = (self._file(name) for name in named)
        return Route(self._destination.allowed_networks, ca_file, client_cert_file)

    def _file(self, name: str | None) -> str | None:
        try:
            return str(self._secrets.path(name)) if name else None
        except NoToken:
            # Outside the folder: no such file, which the first request says.
            return f"{self._secrets.folder}/"
