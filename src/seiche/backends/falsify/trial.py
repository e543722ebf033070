"""One run of a search: a compiled program over candidate inputs, and what its contract says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from seiche.backends.compile import Target, executor_of
from seiche.backends.falsify.margin import with_margins
from seiche.backends.falsify.signals import Signal
from seiche.backends.inputs import Signature
from seiche.backends.program import Program, Sparse
from seiche.errors import NOWHERE, SeicheError
from seiche.ir import tree
from seiche.ir.core import Check
from seiche.ir.op import AnyArray
from seiche.schedule.lower import lower

Inputs: TypeAlias = tuple[AnyArray, ...]
"""A stream `[ticks, ...]` per input of a node."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    `kept`: nothing broke, and `margins` are the least by which each duty held. `refused`: the inputs broke what the node assumes
    of them, at `tick`. `broken`: a duty of the node's, number `check`, at `tick`.
    """

    kind: Literal["kept", "refused", "broken"]
    check: int = -1
    tick: int = 0
    margins: tuple[float, ...] = ()


def of_inputs(check: Check) -> bool:
    """Whether whoever gives the inputs owes it."""
    contract = check.contract
    return contract is not None and contract.role == "assumption" and contract.caller == NOWHERE


class Trial:
    """A node that gives the margins of its duties, compiled: the least work that shows whether they hold."""

    def __init__(self, program: Program, target: Target, signals: tuple[Signal, ...]) -> None:
        node = program.node
        self.signals = signals
        self.duties = tuple(c for c in node.checks if c.contract is not None and not of_inputs(c))
        wide = with_margins(node, self.duties)
        _, form = tree.flatten(tuple(v.type for v in wide.outputs))
        signature = Signature(program.signature.inputs, form, wide.inputs, wide.outputs)
        lowered = lower(wide)
        self.program = Program(wide, lowered, signature, executor_of(lowered, target))
        self.runs = self.ticks = 0

    def __call__(self, inputs: Inputs, ticks: int) -> Outcome:
        """A run from the first tick."""
        program = self.program
        program.reset()
        self.runs += 1
        given = program.signature.inputs.unflatten(list(inputs)).values()
        try:
            results = program.run(*given) if inputs else program.run(ticks=ticks)
        except SeicheError:
            stopped = program.stopped
            if stopped is None:
                raise
            self.ticks += stopped.tick + 1
            check = program.lowered.node.checks.index(stopped.check)
            kind = "refused" if of_inputs(stopped.check) else "broken"
            return Outcome(kind, check, stopped.tick)
        self.ticks += ticks
        return Outcome(
            "kept", margins=tuple(map(_least, results[len(results) - len(self.duties) :]))
        )

    def breakable(self) -> bool:
        """Whether there is anything that the node may break."""
        return not all(map(of_inputs, self.program.lowered.node.checks))

    def fits(self, inputs: Inputs) -> bool:
        """Whether inputs are of their signals."""
        of = (v.type for v in self.program.node.inputs)
        return all(s.fits(x, t) for s, x, t in zip(self.signals, inputs, of, strict=True))


def _least(result: AnyArray | Sparse) -> float:
    """The least margin of a run: infinity where there is none, or it is no number."""
    values = result.values if isinstance(result, Sparse) else result
    return float(np.min(np.where(np.isnan(values), np.inf, values), initial=np.inf))
