from dataclasses import dataclass
from pathlib import Path

import pytest

from breakeven.fingerprint import NotEncodable, fingerprint


@dataclass(frozen=True)
class Value:
    a: int
    b: tuple[float, ...] = (0.1,)


def test_equal_values_have_equal_fingerprints_whatever_their_order():
    assert fingerprint({"x": 1, "y": [1.5, None]}) == fingerprint({"y": (1.5, None), "x": 1})
    assert fingerprint(Value(1)) == fingerprint({"a": 1, "b": [0.1]})


@pytest.mark.parametrize("other", [Value(2), Value(1, (0.1, 0.2)), Value(1, (0.1 + 1e-16,)), Value(1, (-0.1,))])
def test_any_difference_shows(other):
    assert fingerprint(other) != fingerprint(Value(1))


def test_an_integer_is_not_a_float():
    assert fingerprint(1) != fingerprint(1.0)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {2}]}, r"value\.a\[1\] is a set"),
        ({"a": float("nan")}, r"value\.a is nan"),
        ({1: 2}, "has the key 1"),
        ([Path("x")], r"value\[0\] is the path x"),
        (object(), "value is a object"),
    ],
)
def test_what_has_no_exact_encoding_is_refused_with_its_path(value, path):
    with pytest.raises(NotEncodable, match=path):
        fingerprint(value)
