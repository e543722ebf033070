"""The executor of the target "xla": a jitted step, and a jitted loop over ticks; both take over the state that they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from seiche.backends.executor import CheckFailed, Columns
from seiche.backends.xla.library import Array, jax, jnp, lax, wide
from seiche.backends.xla.sharding import Sharding, axes_of, devices_of
from seiche.backends.xla.ticks import Equations, Tick, every
from seiche.errors import NOWHERE, fail
from seiche.ir.core import Node, Var, walk
from seiche.ir.op import AnyArray
from seiche.schedule.lower import Lowered

PIECE_MIN = 16
"""Room for ticks is made in powers of two from here on, so that runs of all lengths share few compiled loops."""

State = list[Array]


class XlaProgram:
    """Executes a lowered node with JAX.

    `device` is the kind to run on ("cpu", "gpu"; JAX's default). `devices` (a number, or JAX's devices) and `shard` (the axis
    of a stream, by name) spread inputs, states and other streams over several of them.
    """

    def __init__(
        self,
        lowered: Lowered,
        device: str | None = None,
        devices: int | Sequence[object] | None = None,
        shard: Mapping[str, int] | None = None,
    ) -> None:
        if shard and devices is None:
            raise fail("SE904", "`shard` needs `devices`", NOWHERE, hint="devices=4")
        self.lowered, self.node = lowered, lowered.node
        on = devices_of(devices, device)
        self.sharding = Sharding(on, axes_of(lowered, shard or {}, len(on)))
        self.equations = Equations(self.node, self.sharding.place)
        (self.sweep,) = self.equations.sweeps
        self.wide = is_wide(self.node)
        # A tick that a check stops must leave the state as it was: then the state is kept until the outcome is known.
        donated = () if self.node.checks else (0,)
        self._step = jax.jit(self._tick, donate_argnums=donated)
        self._run = jax.jit(self._ticks, donate_argnums=donated)
        self.reset()

    def reset(self) -> None:
        self.set_state(self.lowered.initial)

    def step(self, inputs: list[AnyArray], ended: bool = False) -> list[AnyArray | None]:
        with self._context():
            state, outs, present, failed = self._step(self.state, self._given(inputs, ended, 0))
            if self.node.checks and int(failed) >= 0:
                raise CheckFailed(int(failed))
            self.state = state
            there = np.asarray(present)
            return [np.array(x) if p else None for x, p in zip(outs, there, strict=True)]

    def run(self, inputs: list[AnyArray], ticks: int, ended: bool = False) -> list[Columns]:
        room = max(PIECE_MIN, 1 << max(0, ticks - 1).bit_length())
        padded = [
            np.concatenate([x, np.zeros((room - ticks, *x.shape[1:]), x.dtype)]) for x in inputs
        ]
        with self._context():
            before, given = self.state, self._given(padded, ended, 1)
            ran, state, outs, present, failed = self._run(
                before, given, self._blank(room), np.int32(ticks)
            )
            if self.node.checks and int(failed) >= 0:
                at = int(ran) - 1
                _, self.state, *_ = self._run(before, given, self._blank(room), np.int32(at))
                raise CheckFailed(int(failed), at)
            self.state = state
            there = np.asarray(present)[:ticks]
            return [Columns(np.asarray(x)[:ticks], there[:, k]) for k, x in enumerate(outs)]

    def get_state(self) -> dict[str, AnyArray]:
        return {name: np.array(x) for name, x in zip(self.lowered.states, self.state, strict=True)}

    def set_state(self, state: Mapping[str, AnyArray]) -> None:
        with self._context():
            self.state = [
                self.sharding.put(eq.out, np.array(state[n]))
                for n, eq in self.lowered.states.items()
            ]

    # ------------------------------------------------------------------------------------- one tick

    def _tick(self, state: State, inputs: list[Array]) -> tuple[State, list[Array], Array, Array]:
        """The next state, the outputs, which of them are present, and the first check that fails (or -1)."""
        outs = [eq.out for eq in self.lowered.states.values()]
        tick = Tick(
            dict(zip(self.node.inputs, inputs, strict=True)), dict(zip(outs, state, strict=True))
        )
        self.equations.run(self.sweep.eqs, tick)
        following = [self.sharding.place(v, tick.following[v]) for v in outs]
        clocks = self.equations.clocks
        present = [self.equations.on(clocks[v], tick.env) for v in self.node.outputs]
        failed = jnp.int32(-1)
        for k, check in reversed(list(enumerate(self.node.checks))):
            broken = self.equations.on(clocks[check.cond], tick.env) & ~tick.env[check.cond]
            failed = jnp.where(broken, jnp.int32(k), failed)
        results = [tick.env[v] for v in self.node.outputs]
        return following, results, jnp.stack(present) if present else jnp.zeros(0, bool), failed

    # ----------------------------------------------------------------------------------- many ticks

    def _ticks(
        self, state: State, inputs: list[Array], outs: tuple[list[Array], Array], ticks: Array
    ) -> tuple[Array, State, list[Array], Array, Array]:
        """Ticks until one fails: how many ran, the state after them, the outputs `[room, ...]`, the check."""

        def more(loop: tuple[Any, ...]) -> Array:
            t, *_, failed = loop
            return every([t < ticks, failed < 0])

        def turn(loop: tuple[Any, ...]) -> tuple[Any, ...]:
            t, state, outs, present, _ = loop
            here = [lax.dynamic_index_in_dim(x, t, 0, keepdims=False) for x in inputs]
            state, results, there, failed = self._tick(state, here)
            outs = [
                lax.dynamic_update_index_in_dim(o, x, t, 0)
                for o, x in zip(outs, results, strict=True)
            ]
            return t + 1, state, outs, lax.dynamic_update_index_in_dim(present, there, t, 0), failed

        return lax.while_loop(more, turn, (jnp.int32(0), state, *outs, jnp.int32(-1)))

    def _blank(self, room: int) -> tuple[list[AnyArray], AnyArray]:
        """Where outputs go."""
        outs = [np.zeros((room, *v.type.shape), v.type.format.dtype) for v in self.node.outputs]
        return outs, np.zeros((room, len(outs)), bool)

    # ---------------------------------------------------------------------------------------- inputs

    def _given(self, inputs: list[AnyArray], ended: bool, lead: int) -> list[Any]:
        """All inputs, the hidden one among them, on their devices."""
        hidden: list[AnyArray] = []
        if self.lowered.ended is not None:
            shape = inputs[0].shape[:lead] if inputs else (PIECE_MIN,) * lead
            hidden = [np.full(shape, ended)]
        both = [*inputs, *hidden]
        if not self.sharding.many:
            return both
        return [self.sharding.put(v, x, lead) for v, x in zip(self.node.inputs, both, strict=True)]

    def _context(self) -> AbstractContextManager[Any]:
        return wide() if self.wide else nullcontext()


def is_wide(node: Node) -> bool:
    """Whether anything in it has 64 bits, or is rounded from them."""
    return any(v.type.format.itemsize == 8 for part in walk(node) for v in _vars(part))


def _vars(node: Node) -> list[Var]:
    return [*node.inputs, *(out for eq in node.eqs for out in eq.outs)]
