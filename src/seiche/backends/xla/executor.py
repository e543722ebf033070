"""The executor of the target "xla": a jitted step, and a jitted loop over ticks; both take over the state that they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from seiche.backends.executor import CheckFailed, Columns
from seiche.backends.xla.library import Array, jax, jnp, lax, wide
from seiche.backends.xla.sharding import Sharding, axes_of, devices_of
from seiche.backends.xla.staged import Staged
from seiche.backends.xla.ticks import every
from seiche.backends.xla.whole import Layout, Outcome, State, Whole
from seiche.errors import NOWHERE, fail
from seiche.ir.core import Node, Var, walk
from seiche.ir.op import AnyArray
from seiche.schedule.lower import Lowered
from seiche.schedule.retime import is_register

PIECE_MIN = 16
"""Room for ticks is made in powers of two from here on, so that runs of all lengths share few compiled loops."""


class XlaProgram:
    """Executes a lowered node with JAX.

    `device` is the kind to run on ("cpu", "gpu"; JAX's default). Over several `devices` (a number, or JAX's devices) a program
    with registers in it is spread by its stages; with `shard` (the axis of a stream, by name), inputs, states and other
    streams are.
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
        self.wide = is_wide(self.node)
        with self._context():
            self.layout = layout_of(lowered, devices_of(devices, device), shard or {})
        # A tick that a check stops must leave the state as it was: then the state is kept until the outcome is known.
        donated = () if self.node.checks else (0,)
        self._step = jax.jit(self.layout.over_devices(self._tick), donate_argnums=donated)
        self._run = jax.jit(self.layout.over_devices(self._ticks), donate_argnums=donated)
        self.reset()

    def reset(self) -> None:
        self.set_state(self.lowered.initial)

    def step(self, inputs: list[AnyArray], ended: bool = False) -> list[AnyArray | None]:
        with self._context():
            given = self._given(inputs, ended, 0)
            _, (state, outs, present, failed) = self._step(self.state, self.layout.weights, given)
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
            given = self._given(padded, ended, 1)
            mark = np.zeros(room, bool)

            def some(ticks: int) -> tuple[Array, Outcome]:
                return self._run(self.state, self.layout.weights, given, mark, np.int32(ticks))

            ran, (state, outs, present, failed) = some(ticks)
            if self.node.checks and int(failed) >= 0:
                at = int(ran) - 1
                _, (self.state, *_) = some(at)
                raise CheckFailed(int(failed), at)
            self.state = state
            there = np.asarray(present)[:ticks]
            return [Columns(np.asarray(x)[:ticks], there[:, k]) for k, x in enumerate(outs)]

    def compiled(self, inputs: list[AnyArray]) -> tuple[Any, State, list[Array], list[Any]]:
        """A step compiled ahead of time, with its arguments: a copy of the state, the weights, the inputs on their devices.

        `step(state, weights, given)` takes over the state and gives `(ticks, outcome)` (`whole.Outcome`).
        """
        with self._context():
            given = self._given(inputs, False, 0)
            step = self._step.lower(self.state, self.layout.weights, given).compile()
            return step, self.layout.start(self.get_state()), self.layout.weights, given

    def get_state(self) -> dict[str, AnyArray]:
        return self.layout.values(self.state)

    def set_state(self, state: Mapping[str, AnyArray]) -> None:
        with self._context():
            self.state = self.layout.start(state)

    # ---------------------------------------------------------------------------------------- ticks

    def _tick(
        self, state: State, weights: list[Array], inputs: list[Array]
    ) -> tuple[Array, Outcome]:
        return jnp.int32(1), self.layout.tick(state, weights, inputs)

    def _ticks(
        self, state: State, weights: list[Array], inputs: list[Array], room: Array, ticks: Array
    ) -> tuple[Array, Outcome]:
        """Ticks until one fails: how many ran, the state after them, the outputs `[room, ...]`, the check."""

        def more(loop: tuple[Any, ...]) -> Array:
            t, *_, failed = loop
            return every([t < ticks, failed < 0])

        def turn(loop: tuple[Any, ...]) -> tuple[Any, ...]:
            t, state, outs, present, _ = loop
            here = [lax.dynamic_index_in_dim(x, t, 0, keepdims=False) for x in inputs]
            state, results, there, failed = self.layout.tick(state, weights, here)
            outs = [
                lax.dynamic_update_index_in_dim(o, x, t, 0)
                for o, x in zip(outs, results, strict=True)
            ]
            return t + 1, state, outs, lax.dynamic_update_index_in_dim(present, there, t, 0), failed

        types = [v.type for v in self.node.outputs]
        outs = [jnp.zeros((len(room), *t.shape), t.format.dtype) for t in types]
        present = jnp.zeros((len(room), len(outs)), bool)
        start = (jnp.int32(0), state, outs, present, jnp.int32(-1))
        ran, *outcome = lax.while_loop(more, turn, start)
        return ran, tuple(outcome)

    # ---------------------------------------------------------------------------------------- inputs

    def _given(self, inputs: list[AnyArray], ended: bool, lead: int) -> list[Any]:
        """All inputs, the hidden one among them, on their devices."""
        hidden: list[AnyArray] = []
        if self.lowered.ended is not None:
            shape = inputs[0].shape[:lead] if inputs else (PIECE_MIN,) * lead
            hidden = [np.full(shape, ended)]
        both = zip(self.node.inputs, [*inputs, *hidden], strict=True)
        return [self.layout.given(v, x, lead) for v, x in both]

    def _context(self) -> AbstractContextManager[Any]:
        return wide() if self.wide else nullcontext()


def layout_of(lowered: Lowered, devices: list[object], shard: Mapping[str, int]) -> Layout:
    """By its stages where it has registers and there are devices for them; else by the axes that are named, or whole."""
    registers = any(is_register(eq.rhs) for eq in lowered.node.eqs)
    if len(devices) > 1 and registers and not shard:
        return Staged(lowered, devices)
    return Whole(lowered, Sharding(devices, axes_of(lowered, shard, len(devices))))


def is_wide(node: Node) -> bool:
    """Whether anything in it has 64 bits, or is rounded from them."""
    return any(v.type.format.itemsize == 8 for part in walk(node) for v in _vars(part))


def _vars(node: Node) -> list[Var]:
    return [*node.inputs, *(out for eq in node.eqs for out in eq.outs)]
