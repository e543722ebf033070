"""What a program has learnt, as the tree it started from."""

from __future__ import annotations

from typing import Any

from seiche.backends.program import Program
from seiche.ir import tree


def weights(program: Program, name: str, like: Any) -> Any:
    """The state `name` of a program, in the form of the tree `like`."""
    _, form = tree.flatten(like)
    return form.unflatten([program.state[leaf] for leaf in form.names(name)])
