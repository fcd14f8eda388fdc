"""The edge to HTTP: bytes out, an answer back. Nothing is followed, no proxy is used, no body is kept."""

import asyncio
import time
from collections.abc import Mapping

import httpx

from pgtrail_worker.verdict import Answer, Cause

TIMEOUT_SECONDS = 20.0
"""For a whole request, however slowly its answer trickles in."""
CONNECT_SECONDS = 5.0
MOST_ANSWER_BYTES = 64 * 1024
"""Of an answer's body no more is read."""


def client() -> httpx.AsyncClient:
    """A client that obeys nothing but its caller: no redirects, no environment proxies, no cookies kept."""
    return httpx.AsyncClient(
        timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
        # Each destination has one request in flight; a full pool would look like a receiver that does not answer.
        limits=httpx.Limits(max_connections=None),
    )


async def post(
    http: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: bytes, seconds: float = TIMEOUT_SECONDS
) -> Answer:
    """Send one request. Whatever happens on the way is an answer too, never an exception."""
    started = time.monotonic()

    def took() -> float:
        return time.monotonic() - started

    try:
        async with asyncio.timeout(seconds):
            async with http.stream("POST", url, headers=dict(headers), content=body) as response:
                await _drain(response)
        return Answer(response.status_code, took(), retry_after=response.headers.get("retry-after"))
    except (TimeoutError, httpx.TimeoutException):
        return Answer(None, took(), Cause.TIMED_OUT)
    except httpx.ConnectError:
        return Answer(None, took(), Cause.REFUSED)
    except httpx.HTTPError:
        return Answer(None, took(), Cause.BROKEN)
    except Exception:
        # A host that is no name, a port that is none: each library below httpx has its own error for it.
        return Answer(None, took(), Cause.UNUSABLE)


async def _drain(response: httpx.Response) -> None:
    """Read a short body to its end, so that the connection can serve again; leave a long one."""
    read = 0
    async for chunk in response.aiter_raw():
        read += len(chunk)
        if read > MOST_ANSWER_BYTES:
            return
