"""What a back end gives to `Program`: a machine that runs a lowered node on flat lists of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seiche.ir.core import Var
from seiche.ir.op import AnyArray


class CheckFailed(Exception):
    """Check number `check` of the lowered node does not hold, `tick` ticks after the first of this call.

    `values`: of the streams that it speaks of, by name, where the target knows them.
    """

    def __init__(
        self, check: int, tick: int = 0, values: Mapping[str, AnyArray] | None = None
    ) -> None:
        self.check, self.tick, self.values = check, tick, dict(values or {})
        super().__init__(f"check {check} at tick {tick}")


@dataclass(frozen=True)
class Columns:
    """An output at consecutive ticks: `values` is [ticks, ...]; where `present` is False it means nothing."""

    values: AnyArray
    present: AnyArray


class Executor(Protocol):
    """A lowered node with its memory. Arrays are in carrier dtypes, contiguous, and never changed or kept."""

    def reset(self) -> None:
        """To the state before the first tick."""
        ...

    def step(self, inputs: list[AnyArray], ended: bool = False) -> list[AnyArray | None]:
        """One tick: an array per output, None where it is absent. `ended` is the hidden input. Raises CheckFailed."""
        ...

    def run(self, inputs: list[AnyArray], ticks: int, ended: bool = False) -> list[Columns]:
        """`ticks` ticks at once, of inputs [ticks, ...]. Raises CheckFailed. `run_by_steps` will do."""
        ...

    def get_state(self) -> dict[str, AnyArray]:
        """A copy of every state, by the names of `Lowered.states`."""
        ...

    def set_state(self, state: Mapping[str, AnyArray]) -> None:
        """Replaces every state; names, shapes and dtypes are right."""
        ...


def run_by_steps(
    machine: Executor, outputs: Sequence[Var], inputs: list[AnyArray], ticks: int, ended: bool
) -> list[Columns]:
    """`Executor.run` by `Executor.step`."""
    columns = [
        Columns(np.zeros((ticks, *v.type.shape), v.type.format.dtype), np.zeros(ticks, bool))
        for v in outputs
    ]
    for t in range(ticks):
        try:
            results = machine.step([np.asarray(x[t]) for x in inputs], ended)
        except CheckFailed as failed:
            raise CheckFailed(failed.check, t, failed.values) from None
        for column, result in zip(columns, results, strict=True):
            if result is not None:
                column.values[t] = result
                column.present[t] = True
    return columns
