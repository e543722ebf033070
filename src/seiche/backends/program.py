"""A compiled program: one object for every target. It steps, runs whole streams, and shows, saves and loads its state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from seiche.backends import saved
from seiche.backends.contracts import complaint, unmonitored
from seiche.backends.executor import CheckFailed, Columns, Executor
from seiche.backends.inputs import Signature, one_tick, whole_stream
from seiche.errors import SeicheError, fail
from seiche.ir.core import Check, Node, operands
from seiche.ir.fingerprint import fingerprint
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type
from seiche.schedule.lower import Lowered

__all__ = ["Executor", "Program", "Signature", "Sparse", "State"]


@dataclass(frozen=True)
class Sparse:
    """An output on a sub-clock: `values[i]` is what it was at tick `ticks[i]`, counted from the first tick of the run.

    >>> Sparse(np.array([1, 4]), np.array([0.5, 0.25])).dense(6, fill=0.0)
    array([0.  , 0.5 , 0.  , 0.  , 0.25, 0.  ])
    """

    ticks: AnyArray
    values: AnyArray

    def __len__(self) -> int:
        return len(self.ticks)

    def dense(self, length: int, fill: Any) -> AnyArray:
        """[length, ...], with `fill` where the output was absent."""
        whole = np.full((length, *self.values.shape[1:]), fill, self.values.dtype)
        whole[self.ticks] = self.values
        return whole


@dataclass(frozen=True)
class Stopped:
    """A check that does not hold at a tick, and the error that says so."""

    check: Check
    tick: int
    error: SeicheError


class Program:
    """A node compiled for a target. `latency` is the tree of results with, for each, its delay in ticks.

    `node` is the logical node, `lowered` what runs.
    """

    def __init__(
        self,
        node: Node,
        lowered: Lowered,
        signature: Signature,
        executor: Executor,
        reporter: Callable[[Program], Any] | None = None,
        maker: Callable[[Node], Program] | None = None,
    ) -> None:
        self.node, self.lowered, self.signature, self.executor = node, lowered, signature, executor
        self.reporter, self.maker = reporter, maker
        self.ticks = 0
        self._stopped: Stopped | None = None
        self._state = State(self)
        self._late = max(lowered.latency, default=0)
        outputs = signature.outputs
        self._single = outputs.kind is None
        flat = outputs.kind is dict and all(child.kind is None for child in outputs.children)
        self._names = outputs.keys if flat else None

    def __repr__(self) -> str:
        return f"<program {self.node.name}, {type(self.executor).__name__}, {self.ticks} ticks>"

    @property
    def latency(self) -> Any:
        """The tree of results with the latency of each: the ticks of the base clock that it comes late."""
        return self.signature.outputs.unflatten(self.lowered.latency)

    def report(self) -> Any:
        """Bytes, operations, sweeps, latency: what is known before anything runs."""
        if self.reporter is None:
            raise fail("SE904", f"`{self.node.name}` was compiled without a report", self.node.loc)
        return self.reporter(self)

    def remade(self, node: Node) -> Program:
        """The program of a logical node with other constants, compiled as this one was."""
        if self.maker is None:
            raise fail("SE904", f"`{self.node.name}` was not made by compile", self.node.loc)
        return self.maker(node)

    def reset(self) -> None:
        """Back to the state before the first tick."""
        self.executor.reset()
        self.ticks = 0
        self._stopped = None

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """One tick: a value per input, in the tree of the node's arguments; the tree of results.

        A result is None where it is absent, and before its latency has passed. Raises SE903 where an input does not fit,
        SE602 where a frame overflows, SE803 or SE804 where a contract is broken (nothing runs after that until `reset`).
        """
        if self._stopped is not None:
            raise self._stopped.error
        inputs = one_tick(self.signature, args, kwargs)
        try:
            leaves = self.executor.step(inputs)
        except CheckFailed as failed:
            raise self._stop(failed, 0) from None
        if self.ticks < self._late:
            pairs = zip(leaves, self.lowered.latency, strict=True)
            leaves = [None if self.ticks < late else result for result, late in pairs]
        self.ticks += 1
        if self._single:
            return leaves[0]
        if self._names is not None:
            return dict(zip(self._names, leaves))
        return self.signature.outputs.unflatten(leaves)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Whole streams: arrays [ticks, ...] in the tree of the node's arguments; the tree of results.

        A result on the base clock is [ticks, ...], aligned with the inputs whatever its latency; one on a sub-clock is a
        `Sparse`. Results are those of an input that ends here; the state afterwards is that of a program that has stepped
        through these ticks and may go on. A node without inputs takes `ticks=`.
        """
        self._go()
        inputs, ticks = whole_stream(self.signature, args, kwargs)
        parts = [self._advance(inputs, ticks, ended=False)]
        if self.lowered.flush:
            state = self.executor.get_state()
            blank = [np.zeros((self.lowered.flush, *x.shape[1:]), x.dtype) for x in inputs]
            try:
                parts.append(self._advance(blank, self.lowered.flush, ended=True))
            finally:
                self.executor.set_state(state)
            self.ticks -= self.lowered.flush
        leaves = [
            self._aligned([part[k] for part in parts], k, ticks) for k in range(len(parts[0]))
        ]
        return self.signature.outputs.unflatten(leaves)

    @property
    def state(self) -> State:
        """The states by name: `program.state["w"]`, `.save(path)`, `.load(path)`; assigning a dict replaces them all."""
        return self._state

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        self._state.assign(values)

    def _advance(self, inputs: list[AnyArray], ticks: int, ended: bool) -> list[Columns]:
        try:
            columns = self.executor.run(inputs, ticks, ended)
        except CheckFailed as failed:
            raise self._stop(failed, failed.tick) from None
        self.ticks += ticks
        return columns

    def _aligned(self, parts: Sequence[Columns], output: int, ticks: int) -> AnyArray | Sparse:
        """An output at the logical ticks of a run."""
        late = self.lowered.latency[output]
        values = np.concatenate([part.values for part in parts])[late : late + ticks]
        if not self.lowered.clocks[self.lowered.node.outputs[output]]:
            return values
        present = np.concatenate([part.present for part in parts])[late : late + ticks]
        return Sparse(np.flatnonzero(present), values[present])

    def _go(self) -> None:
        if self._stopped is not None:
            raise self._stopped.error

    def _stop(self, failed: CheckFailed, offset: int) -> SeicheError:
        """The error of a check, which is also what every later step raises."""
        check = self.lowered.node.checks[failed.check]
        tick = self.ticks + offset - self.lowered.check_latency[failed.check]
        self._stopped = Stopped(check, tick, complaint(self.node.name, check, tick, failed.values))
        return self._stopped.error

    @property
    def stopped(self) -> Stopped | None:
        """The check that stopped the program, and at which tick; None while it runs."""
        return self._stopped


class State(MutableMapping[str, AnyArray]):
    """A view of a program's states by name: the path of instances and the user's name. Reading copies, writing checks."""

    def __init__(self, program: Program) -> None:
        self.program = program
        states = program.lowered.states
        self.types: dict[str, Type] = {name: eq.out.type for name, eq in states.items()}
        self.locs = {name: eq.out.loc for name, eq in states.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, name: str) -> AnyArray:
        if name not in self.types:
            raise KeyError(name)
        return self.program.executor.get_state()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self.types:
            known = ", ".join(self.types) or "none"
            raise saved.misfit(f"there is no state `{name}`", f"the states are: {known}")
        fitted = saved.fitting(name, value, self.types[name], self.locs[name], allow_nan=False)
        self.program.executor.set_state({**self.program.executor.get_state(), name: fitted})

    def __delitem__(self, name: str) -> None:
        raise saved.misfit(f"state `{name}` cannot be removed")

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {type}" for name, type in self.types.items()) or "no states"

    def assign(self, values: Mapping[str, Any], allow_nan: bool = False) -> None:
        """Replaces all states; raises SE902 and changes nothing where one does not fit."""
        self.program.executor.set_state(saved.checked(values, self.types, self.locs, allow_nan))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all states, the tick and the program's fingerprint to a file."""
        states = tuple((name, str(type)) for name, type in self.types.items())
        program = self.program
        header = saved.Header(
            saved.MAGIC, saved.VERSION, program.node.name, self._fingerprint, program.ticks, states,
            fingerprint(self._bare), self._kept,
        )  # fmt: skip
        saved.write(path, header, program.executor.get_state())

    def load(self, path: str | os.PathLike[str], allow_nan: bool = False) -> None:
        """Goes on where `save` was called, bit for bit; raises SE902 and changes nothing where the file does not fit.

        Where only one of the two programs has its contracts (`compile(monitors=False)`), the states of the equations move;
        contracts then watch from here on.
        """
        header, values = saved.read(path)
        if header.fingerprint != self._fingerprint:
            values = self._without_monitors(path, header, values)
        self.assign(values, allow_nan)
        self.program.ticks = header.ticks
        self.program._stopped = None  # pyright: ignore[reportPrivateUsage]

    def _without_monitors(
        self, path: str | os.PathLike[str], header: saved.Header, values: Mapping[str, AnyArray]
    ) -> dict[str, AnyArray]:
        """The states of a file whose program differs in its contracts alone; SE902 where there is more to it."""
        if header.bare != fingerprint(self._bare) or not set(header.kept) <= set(values):
            name = self.program.node.name
            why = f"it was saved by `{header.program}`, whose equations are not those of `{name}`"
            raise saved.misfit(f"{path} is the state of another program", why)
        moved = zip(self._kept, (values[name] for name in header.kept), strict=True)
        return {**self.program.lowered.initial, **dict(moved)}

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.program.lowered.node)

    @cached_property
    def _bare(self) -> Node:
        """What runs, but for contracts, and for the end of input where only they are told of it."""
        node, ended = unmonitored(self.program.lowered.node), self.program.lowered.ended
        used = {v for eq in node.eqs for v in operands(eq.rhs)}
        return replace(node, inputs=tuple(v for v in node.inputs if v is not ended or v in used))

    @cached_property
    def _kept(self) -> tuple[str, ...]:
        """The states that are not only a contract's, in their order."""
        left = {out for eq in self._bare.eqs for out in eq.outs}
        return tuple(n for n, eq in self.program.lowered.states.items() if eq.out in left)
