"""Trees of values: dict, list, tuple, named tuple, dataclass and None, flattened to leaves and built again.

A `Tree` is the structure alone: comparable, hashable, the same for streams, types, arrays.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from seiche.numbers.formats import Format, Type

Key: TypeAlias = Any
IsLeaf: TypeAlias = Callable[[Any], bool]


class TreeMismatch(ValueError):
    """Two trees of different structure: where, and what was expected and found there."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        self.path, self.expected, self.found = path, expected, found
        super().__init__(f"{path or 'the value'}: expected {expected}, found {found}")


@dataclass(frozen=True)
class Tree:
    """The structure of a tree: `kind` is None for a leaf, else the container's class with a child per key."""

    kind: type | None = None
    keys: tuple[Key, ...] = ()
    children: tuple[Tree, ...] = ()

    @property
    def size(self) -> int:
        """Number of leaves."""
        return 1 if self.kind is None else sum(child.size for child in self.children)

    def paths(self, root: str = "") -> list[str]:
        """How Python reaches each leaf from `root`.

        >>> flatten({"w": [1, 2]})[1].paths("params")
        ["params['w'][0]", "params['w'][1]"]
        """
        if self.kind is None:
            return [root]
        pairs = zip(self.keys, self.children, strict=True)
        return [p for key, child in pairs for p in child.paths(root + _step(self.kind, key))]

    def names(self, root: str) -> list[str]:
        """An identifier for each leaf.

        >>> flatten({"w": [1, 2]})[1].names("params")
        ['params_w_0', 'params_w_1']
        """
        return ["_".join(re.findall(r"\w+", path)) for path in self.paths(root)]

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The tree with these leaves.

        >>> leaves, tree = flatten((1, {"a": 2}))
        >>> tree.unflatten([x * 10 for x in leaves])
        (10, {'a': 20})
        """
        assert len(leaves) == self.size, (len(leaves), self)
        return self._build(iter(leaves))

    def _build(self, leaves: Any) -> Any:
        if self.kind is None:
            return next(leaves)
        built = [child._build(leaves) for child in self.children]
        if self.kind is type(None):
            return None
        if self.kind in (list, tuple):
            return self.kind(built)
        if issubclass(self.kind, tuple):
            return self.kind(*built)
        return (
            self.kind(**dict(zip(self.keys, built, strict=True)))
            if self.kind is not dict
            else dict(zip(self.keys, built, strict=True))
        )

    def leaves_of(self, value: Any, path: str = "") -> list[Any]:
        """The leaves of a value that must have this structure (a dict's order is free); raises TreeMismatch."""
        if self.kind is None:
            return [value]
        found = _open(value)
        if found is None or found[0] is not self.kind or set(found[1]) != set(self.keys):
            raise TreeMismatch(
                path,
                _describe(self.kind, self.keys),
                _describe(*(found[:2] if found else (type(value), ()))),
            )
        given = dict(zip(found[1], found[2], strict=True))
        pairs = zip(self.keys, self.children, strict=True)
        return [
            x for k, child in pairs for x in child.leaves_of(given[k], path + _step(self.kind, k))
        ]


LEAF = Tree()


def flatten(value: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], Tree]:
    """The leaves of a tree, in order, and its structure. Whatever is no container is a leaf; `is_leaf` stops earlier.

    >>> flatten({"a": 1, "b": (2, None)})[0]
    [1, 2]
    """
    leaves: list[Any] = []

    def visit(at: Any) -> Tree:
        opened = None if is_leaf is not None and is_leaf(at) else _open(at)
        if opened is None:
            leaves.append(at)
            return LEAF
        kind, keys, children = opened
        return Tree(kind, keys, tuple(map(visit, children)))

    return leaves, visit(value)


def map_tree(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """`f` on each leaf of a tree, together with the leaves at the same place of others; raises TreeMismatch.

    >>> map_tree(lambda a, b: a + b, {"x": 1, "y": [2]}, {"x": 10, "y": [20]})
    {'x': 11, 'y': [22]}
    """
    leaves, structure = flatten(tree, is_leaf)
    others = [structure.leaves_of(other) for other in rest]
    return structure.unflatten([f(*each) for each in zip(leaves, *others, strict=True)])


def children(value: Any) -> list[tuple[Key, Any]]:
    """What a container holds directly, by its keys; nothing for a leaf.

    >>> children({"w": 1, "b": 2}), children([3]), children(4)
    ([('w', 1), ('b', 2)], [(0, 3)], [])
    """
    found = _open(value)
    return [] if found is None else list(zip(found[1], found[2], strict=True))


def word(*keys: Key) -> str:
    """A word for a place in a tree, as `Tree.names` makes them.

    >>> word("layers", 0, "weight")
    'layers_0_weight'
    """
    return "_".join(w for key in keys for w in re.findall(r"\w+", str(key)))


def _open(value: Any) -> tuple[type, tuple[Key, ...], tuple[Any, ...]] | None:
    """The class, keys and children of a container; None for a leaf."""
    kind: type = type(value)
    if value is None:
        return kind, (), ()
    if isinstance(value, Type | Format):
        return None
    if hasattr(kind, "__seiche_tree__"):
        return _open(value.__seiche_tree__())
    if kind is dict:
        return kind, tuple(value), tuple(value.values())
    if kind in (list, tuple):
        return kind, tuple(range(len(value))), tuple(value)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return kind, tuple(value._fields), tuple(value)
    if dataclasses.is_dataclass(value):
        names = tuple(f.name for f in dataclasses.fields(value) if f.init)
        return kind, names, tuple(getattr(value, n) for n in names)
    return None


def _step(kind: type, key: Key) -> str:
    return f"[{key!r}]" if kind in (dict, list, tuple) else f".{key}"


def _describe(kind: type, keys: tuple[Key, ...]) -> str:
    if kind is type(None):
        return "None"
    if kind in (list, tuple):
        return f"a {kind.__name__} of {len(keys)}"
    return f"a {kind.__name__} with {', '.join(map(str, keys))}" if keys else f"a {kind.__name__}"
