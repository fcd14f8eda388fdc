"""JSON taken apart and put together as Postgres writes it."""

import pytest

from pgtrail_cli.archive.jsonb import equal, members, object_of, quoted


def test_members_stand_as_they_are_written():
    text = '{"a": 1.10, "é": "x, }\\" \\\\", "bb": {"c": [1, {"d": null}]}, "": 1' + "0" * 5000 + "}"
    assert members(text) == {"a": "1.10", "é": '"x, }\\" \\\\"', "bb": '{"c": [1, {"d": null}]}', "": "1" + "0" * 5000}
    assert members("{}") == members(None) == members("[1]") == {}


def test_what_is_nested_too_deep_to_be_read_is_found_all_the_same():
    deep = '{"a": ' * 100_000 + '["}", 1]' + "}" * 100_000
    assert members(f'{{"x": {deep}, "y": 2}}') == {"x": deep, "y": "2"}
    assert not equal(deep, deep.replace("1]", "2]"))


def test_shorter_names_come_first_then_by_bytes():
    assert (
        object_of({"b": "1", "aa": None, "é": "2", "a": "3", "ab": "4"})
        == '{"a": 3, "b": 1, "aa": null, "ab": 4, "é": 2}'
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1.0", "1.00", True), ("1", "true", False), ("[1]", "[1.0]", True), ('{"a": 1}', '{"a": 1.0}', True), ('"1"', "1", False),
     ("1" + "0" * 6000, "1" + "0" * 6000 + ".0", True), (None, "null", False), (None, None, True)],
)  # fmt: skip
def test_values_are_equal_as_jsonb_compares_them(one, other, same):
    assert equal(one, other) == same


def test_text_is_quoted_as_postgres_does():
    assert quoted('\x01\x1f\t"\\é\x7f') == '"\\u0001\\u001f\\t\\"\\\\é\x7f"'
