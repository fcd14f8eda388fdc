"""Rows taken apart into the texts that a leaf is made of, as Postgres writes them."""

from pgtrail.verify.canonical import spans


def test_members_stand_as_they_are_written():
    members = {"a": "1.10", "é": '"x, }\\" \\\\"', "bb": '{"c": [1, {"d": null}]}', "": "1" + "0" * 5000}
    text = ", ".join(f'"{name}": {value}' for name, value in members.items())
    assert spans(f"{{{text}}}") == [(name, f'"{name}": {value}') for name, value in members.items()]
    assert spans("{}") == []
    assert spans("[1]") == [("", '"": [1]')]


def test_what_is_nested_too_deep_to_be_read_is_found_all_the_same():
    deep = '{"a": ' * 100_000 + '["}", 1]' + "}" * 100_000
    assert spans(f'{{"x": {deep}, "y": 2}}') == [("x", f'"x": {deep}'), ("y", '"y": 2')]
