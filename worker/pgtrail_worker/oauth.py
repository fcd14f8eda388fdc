"""The token that an OAuth server issues for client credentials (RFC 6749, 5.1). Pure."""

import json
import re

MAX_SECONDS = 86_400.0
"""A token is fetched again after a day, however long it is said to be valid."""
DEFAULT_SECONDS = 300.0
TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")


def parse_access_token(body: bytes) -> tuple[str, float]:
    """The token in the body of a response, and the seconds for which it is valid.

    :raises ValueError: it has none, or none that a header can carry. The message quotes nothing of the body.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        # (Not the error itself: it quotes the response.)
        raise ValueError("no JSON") from None
    if not isinstance(parsed, dict):
        raise ValueError("no JSON object")
    token = parsed.get("access_token")
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise ValueError("no access_token that a header can carry")
    return token, _seconds(parsed.get("expires_in", DEFAULT_SECONDS))


def _seconds(value: object) -> float:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    # (Only NaN is not equal to itself.)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError("no valid expires_in")
    # A token that has expired already is sent all the same: the receiver's clock decides.
    return float(min(max(value, 0), MAX_SECONDS))
