"""Shift registers: the state of a causal convolution. All its values are windows of one history.

s = fby(i, v)   c = concat(s, x)   v = c[m:]        s holds k rows, x brings m
h = concat(s of the block before, x rows)           c at row r is h[r m : r m + k + m]
"""

from __future__ import annotations

from dataclasses import dataclass

from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Equation, Fby, Var
from seiche.ir.op import Use
from seiche.ir.ops.batching import shaped
from seiche.ir.ops.moves import ranges


@dataclass(frozen=True)
class Register:
    """The three Vars, what comes in, and what was there at first."""

    state: Var
    joined: Var
    rest: Var
    arg: Var
    init: Var | None

    @property
    def kept(self) -> int:
        """Rows of the state."""
        return self.state.type.shape[0]

    @property
    def fresh(self) -> int:
        """Rows that come at each tick."""
        return self.arg.type.shape[0]


def find_register(eqs: list[Equation]) -> Register | None:
    """The register that a recurrence is, if it is one and is never reset."""
    if len(eqs) != 3:
        return None
    by = {type(eq.rhs) if isinstance(eq.rhs, Fby) else getattr(eq.rhs, "op", ""): eq for eq in eqs}
    if set(by) != {Fby, "concat", "slice"}:
        return None
    fby, joined, rest = by[Fby], by["concat"], by["slice"]
    assert (
        isinstance(fby.rhs, Fby) and isinstance(joined.rhs, Apply) and isinstance(rest.rhs, Apply)
    )
    if fby.rhs.reset is not None or len(joined.rhs.args) != 2 or joined.rhs.params["axis"] != 0:
        return None
    state, arg = joined.rhs.args
    found = Register(fby.out, joined.out, rest.out, arg, fby.rhs.init)
    use = Use((joined.out.type,), rest.rhs.params, rest.out.type)
    whole = [range(n) for n in joined.out.type.shape]
    whole[0] = range(found.fresh, joined.out.type.shape[0])
    is_shift = ranges(use.types[0], use.params) == whole
    return found if state is fby.out and arg is not fby.out and is_shift else None


def windows(b: Builder, history: Var, count: int, size: int, step: int) -> Var:
    """`[count, size, ...]`: window r begins at row `r step` of the history."""
    rows, *rest = history.type.shape
    flat = shaped(b, history, (rows, history.type.size // rows))
    found = b.patches(flat, window=(size,), strides=(step,), dilation=(1,), low=(0,), high=(0,))
    return shaped(b, found, (count, size, *rest))
