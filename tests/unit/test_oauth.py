import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrail_worker.oauth import MAX_SECONDS, parse_access_token

DEEP = 100_000
HOSTILE = {
    "nested lists": b"[" * DEEP,
    "nested objects": b'{"access_token":' * DEEP,
    "nested in the token": b'{"expires_in": 60, "access_token": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "a huge number": b'{"access_token": "a", "expires_in": ' + b"9" * 10_000 + b"}",
    "a large exponent": b'{"access_token": "a", "expires_in": 1e999}x',
    "nan": b'{"access_token": "a", "expires_in": NaN}',
    "true": b'{"access_token": "a", "expires_in": true}',
    "a list": b'{"access_token": "a", "expires_in": [60]}',
    "no lifetime": b'{"access_token": "a", "expires_in": null}',
    "a word": b'{"access_token": "a", "expires_in": "soon"}',
    "a list of tokens": b'{"access_token": ["a"]}',
    "an object": b'{"access_token": {"a": 1}}',
    "a number": b'{"access_token": 5}',
    "nothing": b'{"access_token": ""}',
    "two lines": b'{"access_token": "a\\nx-evil: 1"}',
    "a nul": b'{"access_token": "a\\u0000"}',
    "a space": b'{"access_token": "a b"}',
    "not ASCII": '{"access_token": "é"}'.encode(),
    "half a surrogate": b'{"access_token": "\\ud800"}',
    "too long": b'{"access_token": "' + b"a" * 8193 + b'"}',
    "not UTF-8": b'{"access_token": "\xff"}',
    "no JSON": b"<html>",
    "no object": b"[]",
    "empty": b"",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_token_is_refused_without_a_word_of_it(body):
    with pytest.raises(ValueError, match=r"^no ") as refused:
        parse_access_token(body)
    assert len(str(refused.value)) < 60


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (3599, 3599),
        ("3599", 3599),
        (0, 0),
        (0.5, 0.5),
        (-1, 0),
        (-(10**400), 0),
        (10**400, MAX_SECONDS),
        (1e308, MAX_SECONDS),
    ],
)
def test_how_long_a_token_holds(given, seconds):
    assert parse_access_token(json.dumps({"access_token": "a", "expires_in": given}).encode()) == ("a", seconds)


def test_infinity_is_a_day():
    assert parse_access_token(b'{"access_token": "a", "expires_in": 1e999}') == ("a", MAX_SECONDS)
    assert parse_access_token(b'{"access_token": "a", "expires_in": -1e999}') == ("a", 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | st.dictionaries(st.sampled_from(["access_token", "expires_in", "x"]), JSON).map(
    lambda made: json.dumps(made).encode()
))  # fmt: skip
def test_whatever_comes_it_is_a_token_that_can_be_sent_or_refused(body):
    try:
        token, seconds = parse_access_token(body)
    except ValueError:
        return
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token
    assert math.isfinite(seconds)
    assert 0 <= seconds <= MAX_SECONDS
