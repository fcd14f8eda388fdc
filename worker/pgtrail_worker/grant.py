"""What an OAuth server gives for client credentials (RFC 6749, 5.1). Pure."""

import json
import re
from dataclasses import dataclass

LONGEST_SECONDS = 86_400.0
"""A token is fetched anew after a day, however long it is said to hold."""
DEFAULT_SECONDS = 300.0
TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True)
class Grant:
    """A token and the seconds for which it holds."""

    token: str
    seconds: float


def read_grant(body: bytes) -> Grant:
    """The token of a response.

    :raises ValueError: there is none in it, or none that a header can carry; says nothing of what is in it.
    """
    try:
        granted = json.loads(body)
    except (ValueError, RecursionError):
        # (Not the error itself: it quotes the response.)
        raise ValueError("no JSON") from None
    if not isinstance(granted, dict):
        raise ValueError("no JSON object")
    token = granted.get("access_token")
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise ValueError("no access_token that a header can carry")
    return Grant(token, _seconds(granted.get("expires_in", DEFAULT_SECONDS)))


def _seconds(given: object) -> float:
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 20:
        given = int(given)
    # (NaN alone is not what it is.)
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given:
        raise ValueError("no expires_in that is a time")
    # A token that has ended already is sent all the same: the receiver's clock decides.
    return float(min(max(given, 0), LONGEST_SECONDS))
