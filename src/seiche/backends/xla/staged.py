"""The stages of a pipelined program on devices of their own: one program on all of them, each taking its branch.

A device holds the states, registers and large constants of its stage. Where several hold arrays of one type, these share a
slot, `[devices, ...]`, an array per device; a device that has none there holds zeros. At the end of a tick what other devices'
registers take is sent, all at once (`lax.ppermute`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seiche.backends.xla.library import Array, NamedSharding, PartitionSpec, jax, jnp, lax, on_each
from seiche.backends.xla.sharding import AXIS, Sharding
from seiche.backends.xla.stages import Message, Stages, stages_of
from seiche.backends.xla.ticks import Equations, Tick, Values, blank
from seiche.backends.xla.whole import Outcome, State, Turn, first_failure, stacked
from seiche.ir.core import Equation, Lit, Var
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type
from seiche.schedule.lower import Lowered

HELD_BYTES = 16384
"""Constants from this size on lie on the one device that reads them, rather than in the program."""


@dataclass(frozen=True)
class Slots:
    """`types[k]` is the array of slot k on each device, `at[d][v]` the slot of a Var on device d."""

    types: list[Type]
    at: list[dict[Var, int]]

    def arrays(self, values: Mapping[Var, AnyArray]) -> list[AnyArray]:
        """`[devices, ...]` per slot."""
        whole = [np.zeros((len(self.at), *t.shape), t.format.dtype) for t in self.types]
        for device, slots in enumerate(self.at):
            for var, k in slots.items():
                whole[k][device] = values[var]
        return whole

    def find(self, var: Var) -> tuple[int, int]:
        """(slot, a device that holds the Var there)."""
        return next((at[var], device) for device, at in enumerate(self.at) if var in at)


def shared(held: Iterable[Iterable[Var]]) -> Slots:
    """Slots for what each device holds: as many of a type as the device with most of it."""
    types: list[Type] = []
    by_type: dict[Type, list[int]] = {}
    at: list[dict[Var, int]] = []
    for vars_ in held:
        mine: dict[Var, int] = {}
        used: dict[Type, int] = {}
        for var in vars_:
            there = by_type.setdefault(var.type, [])
            n = used.get(var.type, 0)
            if n == len(there):
                there.append(len(types))
                types.append(var.type)
            mine[var], used[var.type] = there[n], n + 1
        at.append(mine)
    return Slots(types, at)


class Staged:
    """One tick of a program whose stages lie on several devices; `whole.Layout` says what each method does."""

    def __init__(self, lowered: Lowered, devices: list[object]) -> None:
        self.lowered, self.node = lowered, lowered.node
        self.sharding = Sharding(devices)
        self.stages: Stages = stages_of(lowered, len(devices))
        self.equations = Equations(self.node)
        (self.sweep,) = self.equations.sweeps
        self.mail = {m.register.out: m for m in self.stages.messages}
        self.states = shared(map(self._states, self.stages.equations))
        self.constants = shared(map(self._large, self.stages.equations))
        defs = self.node.definitions()
        known = {v: defs[v].rhs for at in self.constants.at for v in at}
        literals = {v: rhs.value for v, rhs in known.items() if isinstance(rhs, Lit)}
        self.weights = [self._put(x) for x in self.constants.arrays(literals)]

    def _states(self, eqs: frozenset[Equation]) -> list[Var]:
        return [eq.out for eq in self.lowered.states.values() if eq in eqs]

    def _large(self, eqs: frozenset[Equation]) -> list[Var]:
        return [
            eq.out
            for eq in self.node.eqs
            if eq in eqs and isinstance(eq.rhs, Lit) and eq.out.type.nbytes >= HELD_BYTES
        ]

    def _put(self, whole: AnyArray) -> Array:
        return jax.device_put(whole, NamedSharding(self.sharding.mesh, PartitionSpec(AXIS)))

    # ------------------------------------------------------------------------------------- its state

    def start(self, state: Mapping[str, AnyArray]) -> State:
        named = {eq.out: state[name] for name, eq in self.lowered.states.items()}
        return [self._put(x) for x in self.states.arrays(named)]

    def values(self, state: State) -> dict[str, AnyArray]:
        whole = [np.asarray(x) for x in state]
        found = {name: self.states.find(eq.out) for name, eq in self.lowered.states.items()}
        return {name: np.array(whole[slot][device]) for name, (slot, device) in found.items()}

    def given(self, var: Var, value: AnyArray, lead: int) -> Array:
        return self.sharding.put(var, value, lead)

    # ---------------------------------------------------------------------------------------- a tick

    def over_devices(self, turn: Turn) -> Turn:
        """Every device runs the turn; an output is taken from the one that has it."""
        own, same = PartitionSpec(AXIS), PartitionSpec()
        homes = [self.stages.of(v) for v in self.node.outputs]

        def each(state: State, weights: list[Array], *rest: Array) -> tuple[Array, Outcome]:
            ran, (state, outs, present, failed) = turn(
                [x[0] for x in state], [x[0] for x in weights], *rest
            )
            return ran, ([x[None] for x in state], [x[None] for x in outs], present[None], failed)

        def run(state: State, weights: list[Array], *rest: Array) -> tuple[Array, Outcome]:
            specs = (own, own, *(same for _ in rest))
            wide = on_each(each, self.sharding.mesh, specs, (same, (own, own, own, same)))
            ran, (state, outs, present, failed) = wide(state, weights, *rest)
            outs = [x[home] for x, home in zip(outs, homes, strict=True)]
            there = [present[home][..., k] for k, home in enumerate(homes)]
            return ran, (state, outs, jnp.stack(there, axis=-1) if there else present[0], failed)

        return run

    def tick(self, state: State, weights: list[Array], inputs: list[Array]) -> Outcome:
        """On one device, inside `over_devices`."""
        me = lax.axis_index(AXIS)
        branches = [self._branch(device) for device in range(self.stages.devices)]
        state, sent, outs, present, failed = lax.switch(me, branches, state, weights, inputs)
        for value, (slot, group) in zip(sent, self._exchanges, strict=True):
            arrived = lax.ppermute(value, AXIS, [(m.source, m.target) for m in group])
            takes = jnp.asarray([any(m.target == d for m in group) for d in range(len(branches))])
            state[slot] = jnp.where(takes[me], arrived, state[slot])
        if self.node.checks:
            failed = lax.pmax(failed, AXIS)
        return state, outs, present, failed

    @cached_property
    def _exchanges(self) -> list[tuple[int, list[Message]]]:
        """Messages that travel together, with the slot that they fill: each device sends one at most and receives one."""
        groups: list[tuple[int, list[Message]]] = []
        for m in self.stages.messages:
            slot = self.states.at[m.target][m.register.out]
            for of, group in groups:
                busy = any(m.source == n.source or m.target == n.target for n in group)
                if of == slot and not busy:
                    group.append(m)
                    break
            else:
                groups.append((slot, [m]))
        return groups

    def _branch(self, device: int) -> Callable[..., Any]:
        """The tick of a stage: its next state, what it sends, its outputs, which are present, the check that fails."""
        mine, held, large = (
            self.stages.equations[device], self.states.at[device], self.constants.at[device]
        )  # fmt: skip
        eqs = [eq for eq in self.sweep.eqs if eq in mine and eq.outs[0] not in large]

        def run(state: State, weights: list[Array], inputs: list[Array]) -> tuple[Any, ...]:
            env: Values = dict(zip(self.node.inputs, inputs, strict=True))
            env |= {v: weights[k] for v, k in large.items()}
            memory = {v: state[k] for v, k in held.items()}
            tick = Tick(env, memory, {v: memory[v] for v in held if v in self.mail})
            self.equations.run(eqs, tick)
            following = list(state)
            for var, k in held.items():
                following[k] = tick.following[var]
            sent = [self._sent(device, slot, group, env) for slot, group in self._exchanges]
            outs, here = zip(
                *(self._output(device, v, env) for v in self.node.outputs), strict=True
            )
            failed = first_failure(self.equations, env, lambda v: self.stages.of(v) == device)
            return following, sent, list(outs), stacked(list(here)), failed

        return run

    def _sent(self, device: int, slot: int, group: list[Message], env: Values) -> Array:
        value = next((m.value for m in group if m.source == device), None)
        return blank(self.states.types[slot]) if value is None else env[value]

    def _output(self, device: int, var: Var, env: Values) -> tuple[Array, Array]:
        """An output, and whether it is present."""
        if self.stages.of(var) != device:
            return blank(var.type), jnp.asarray(False)
        return env[var], self.equations.on(self.equations.clocks[var], env)
