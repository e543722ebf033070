"""The checks: facts about nodes, or all errors at once. `verify(node)` runs them; see `check.run`."""

from __future__ import annotations

from seiche.check.facts import Component, Facts, NodeFacts
from seiche.check.run import verify

all = verify
"""`check.all(node)`: the whole of them."""

__all__ = ["Component", "Facts", "NodeFacts", "all", "verify"]
