"""Sets of event ids."""

import pytest

from pgtrail.verify.ids import Ids, overlapping


@pytest.mark.parametrize(
    ("texts", "pairs"),
    [
        ([], []),
        (["{}", "{}"], []),
        (["{[1,5)}", "{[5,9)}"], []),
        (["{[1,5),[9,12)}", "{[5,9)}"], []),
        (["{[1,5)}", "{[4,9)}"], [(0, 1)]),
        (["{[4,9)}", "{[1,5)}"], [(0, 1)]),
        (["{[1,100)}", "{[4,5)}", "{[50,51)}"], [(0, 1), (0, 2)]),
    ],
)
def test_sets_that_overlap_are_found(texts, pairs):
    assert list(overlapping([Ids(text) for text in texts])) == pairs


def test_a_set_of_several_texts_holds_each_of_their_ids_though_they_overlap():
    ids = Ids("{[1,100)}", "{[4,5),[200,201)}")
    assert [number for number in (0, 1, 4, 50, 99, 100, 200, 201) if number in ids] == [1, 4, 50, 99, 200]
