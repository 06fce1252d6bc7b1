from __future__ import annotations

import pytest

from meg.errors import InputError
from meg.models.splice import place

M = 99


@pytest.mark.parametrize(
    ("ids", "concepts", "width", "expected"),
    [
        ([1, M, 2], 1, 1, [0, ~0, 2]),
        ([1, M, 2], 3, 1, [0, ~0, ~1, ~2, 2]),
        ([1, M, 2], 2, 2, [0, ~0, ~0, ~1, ~1, 2]),
        ([1, M, 2, M], 2, 1, [0, ~0, 2, ~1]),
        ([1, M, 2, M], 2, 2, [0, ~0, ~0, 2, ~1, ~1]),
        ([1, M, M, 2, M, M], 2, 2, [0, ~0, ~0, 3, ~1, ~1]),
        ([1, 2, 3], 2, 1, [0, ~0, ~1, 1, 2]),
        ([], 2, 1, [~0, ~1]),
        ([1, M, 2, M], 0, 1, [0, 2]),
        ([1, 2], 0, 1, [0, 1]),
    ],
)
def test_place(ids: list[int], concepts: int, width: int, expected: list[int]) -> None:
    source, marked = place(ids, M, concepts, width)
    assert source == expected
    assert marked is (M in ids or concepts == 0)


def test_wrong_number_of_markers() -> None:
    with pytest.raises(InputError, match="2 markers for 3 concepts"):
        place([1, M, M], M, 3)
