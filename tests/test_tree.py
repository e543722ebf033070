"""Trees: flattened and built again, with paths, over every container."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any

import pytest

from seiche.ir.tree import LEAF, TreeMismatch, flatten, map_tree

Pair = namedtuple("Pair", "first second")


@dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any = None
    size: int = field(default=0, init=False)


TREES: list[Any] = [
    1,
    None,
    (),
    {},
    [1, (2, 3)],
    {"b": 1, "a": {"c": (2,)}},
    Pair(1, [2, Pair(3, None)]),
    Layer(1, {"x": 2}),
    {3: Layer(Pair(1, 2)), (4, 5): "leaf"},
]


@pytest.mark.parametrize("value", TREES, ids=str)
def test_flatten_and_unflatten(value: Any) -> None:
    leaves, tree = flatten(value)
    assert tree.unflatten(leaves) == value
    assert tree.leaves_of(value) == leaves
    assert tree.size == len(leaves) == len(tree.paths()) == len(tree.names("x"))
    assert flatten(value)[1] == tree and hash(flatten(value)[1]) == hash(tree)
    for path, leaf in zip(tree.paths("value"), leaves):
        assert eval(path, {"value": value}) == leaf


def test_order_of_a_dict_is_free() -> None:
    _, tree = flatten({"a": 1, "b": 2})
    assert tree.leaves_of({"b": 20, "a": 10}) == [10, 20]


def test_a_leaf_may_be_a_container() -> None:
    leaves, tree = flatten([(1, 2), 3], is_leaf=lambda x: isinstance(x, tuple))
    assert leaves == [(1, 2), 3] and tree.children == (LEAF, LEAF)


@pytest.mark.parametrize(
    ("like", "value", "path"),
    [
        ([1, 2], [1], ""),
        ([1, 2], (1, 2), ""),
        ({"a": 1}, {"b": 1}, ""),
        ({"a": [1, (2,)]}, {"a": [1, 2]}, "['a'][1]"),
        (Layer(1), {"weight": 1, "bias": None}, ""),
        (Layer((1,)), Layer(1), ".weight"),
        (None, 0, ""),
        (Pair(1, 2), (1, 2), ""),
    ],
)
def test_another_structure(like: Any, value: Any, path: str) -> None:
    with pytest.raises(TreeMismatch, match=r"expected .* found") as caught:
        flatten(like)[1].leaves_of(value)
    assert caught.value.path == path


def test_map_over_several_trees() -> None:
    assert map_tree(lambda a, b: a * b, Layer(2, (3,)), Layer(5, (7,))) == Layer(10, (21,))
    with pytest.raises(TreeMismatch):
        map_tree(lambda a, b: a, [1], [1, 2])
