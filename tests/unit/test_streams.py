"""Text in whatever encoding it comes or has to go."""

import codecs
import json

import pytest

from pgtrail.errors import PgtrailError
from pgtrail.verify.anchor import find_anchors
from pgtrail.verify.proof import check_proof
from pgtrail_cli.streams import read_text

SEAL = {"number": 7, "hash": "a" * 64, "root": "b" * 64, "name": "é\u2028🦊"}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_seals_are_found_in_a_file_of_any_encoding(encoding, ending):
    lines = (
        ending.join(json.dumps(SEAL | {"number": number}, ensure_ascii=False) for number in (7, 8))
        if ending
        else json.dumps([SEAL])
    )
    assert 7 in find_anchors(read_text(lines.encode(encoding)))


def test_seals_are_found_in_files_that_were_joined_with_their_marks():
    line = codecs.BOM_UTF8 + json.dumps(SEAL).encode() + b"\n"
    other = codecs.BOM_UTF8 + json.dumps(SEAL | {"number": 8}).encode() + b"\n"
    assert set(find_anchors(read_text(line + other))) == {7, 8}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x00" * 7,
        b"\xff\xfe[",
        b"[" * 100_000,
        b"9" * 100_000,
        b"NaN",
        b'{"number": 1e999}',
    ],
)
def test_what_holds_no_seal_is_one_error(content):
    with pytest.raises(PgtrailError, match="the anchor has no seals"):
        find_anchors(read_text(content))


DEEP = "[" * 100_000 + "]" * 100_000
HUGE = "9" * 100_000


@pytest.mark.parametrize(
    "value",
    [None, 0, -1, 10**30, 1.5, True, "", "x", [], [[]], {}, {"a": []}, DEEP, HUGE, "\x00", "\ud800", float("nan")],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("key", ["proof", "event", "seal", "fields", "salt", "leaf_index", "path", "seal_hash"])
def test_a_proof_of_anything_is_one_error(key, value):
    event = json.dumps(["pgtrail event 1", *[None] * 21, "0" * 64, None, None, None])
    seal = json.dumps(["pgtrail seal 1", 1, "2026", *[None] * 10, 1, *[None] * 4, "00"])
    document = {
        "proof": "pgtrail proof 1",
        "event": event,
        "seal": seal,
        "fields": [],
        "salt": "",
        "leaf_index": 0,
        "path": [],
        "seal_hash": "",
    }
    with pytest.raises(PgtrailError):
        check_proof(document | {key: value})
