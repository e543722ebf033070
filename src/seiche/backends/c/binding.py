"""Runs compiled programs from Python: structs in memory that numpy owns, views of their members, steps as functions (`calls`).

`Instance` is the raw path: write into `inputs`, call `tick()`, read `outputs`; nothing is copied. `CProgram` is the `Executor`.
The interpreter lock is given up during a call, so that instances run in parallel threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seiche.backends.c import calls
from seiche.backends.c.build import Arithmetic, loaded
from seiche.backends.c.printer import Sources, print_c
from seiche.backends.executor import CheckFailed, Columns
from seiche.errors import InternalError
from seiche.ir.loops import Buffer
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type
from seiche.numbers.units import carried, kept
from seiche.schedule.layout import Layout, in_layout, out_layout, self_layout, weights_layout
from seiche.schedule.lower import Lowered
from seiche.schedule.machine import Scheduled, schedule

ALIGNMENT = 64
"""Of the structs in memory: a cache line."""


@dataclass(frozen=True)
class Memory:
    """A struct: bytes that numpy owns, and views of its members."""

    raw: AnyArray
    layout: Layout
    address: int

    def view(self, name: str, type: Type) -> AnyArray:
        """A member, to be read and written in place."""
        start = self.layout.offsets[name]
        part = self.raw[start : start + type.nbytes]
        return part.view(type.format.dtype).reshape(type.shape)


def memory(layout: Layout) -> Memory:
    """A zeroed struct."""
    whole = np.zeros(layout.size + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    raw = whole[start : start + layout.size]
    return Memory(raw, layout, raw.ctypes.data)


class Library:
    """A program, compiled and loaded; shared by its instances."""

    def __init__(self, scheduled: Scheduled, arithmetic: Arithmetic = "strict") -> None:
        machine = scheduled.machine
        self.scheduled, self.machine = scheduled, machine
        self.sources: Sources = print_c(machine)
        name = self.sources.name
        files = {f"{name}.h": self.sources.header, f"{name}.c": self.sources.source,
                 f"{name}_host.c": self.sources.host}  # fmt: skip
        self.path: Path
        self.path, self.dll = loaded(files, f"{name}_step", arithmetic)
        self.layouts = (
            self_layout(machine),
            in_layout(machine),
            out_layout(machine),
            weights_layout(machine),
        )
        self._verify()
        calls.prepare(self.dll, name)
        self.init = self._function("init", None)
        self.reset = self._function("reset", None)
        self.step = self._function("step", ctypes.c_int32)
        self.run = self.dll[f"{name}_run"]
        self.run.restype = ctypes.c_int64
        pointer = ctypes.c_void_p
        self.run.argtypes = [pointer, pointer, pointer, ctypes.c_int64, *[pointer] * 4]
        self.weights = memory(self.layouts[3])
        for buffer, value in machine.weights:
            self.weights.view(buffer.name, buffer.type)[...] = value

    def _function(self, name: str, result: type[ctypes.c_int32] | None) -> Callable[..., int]:
        """A method. Its arguments are `c_void_p`s made once: declared types would only cost a check of each at every call."""
        found = self.dll[f"{self.sources.name}_{name}"]
        found.restype = result
        return found

    def _verify(self) -> None:
        """What was predicted is what the compiler laid out."""
        measured = tuple((ctypes.c_uint64 * 4).in_dll(self.dll, f"{self.sources.name}_sizes"))
        predicted = tuple(layout.size for layout in self.layouts)
        if measured != predicted:
            raise InternalError(
                f"sizes of the structs of `{self.sources.name}`: predicted {predicted}, measured {measured}"
            )


class Instance:
    """One instance of a program: its memory, its inputs and outputs as views of what C holds: of fixed point, units of the last place.

    >>> # instance.inputs[0][...] = x; failed = instance.tick(); y = instance.outputs[0]
    """

    def __init__(self, library: Library) -> None:
        machine = library.machine
        self.library = library
        self.self, self.input, self.output = (memory(layout) for layout in library.layouts[:3])
        self.inputs = [self.input.view(b.name, b.type) for b in machine.inputs]
        self.outputs = [self.output.view(b.name, b.type) for b in machine.outputs]
        self.present = [self._flag(b) for b in machine.outputs]
        self.states = {
            n: self.self.view(b.name, b.type) for n, b in library.scheduled.states.items()
        }
        self.fault = (
            None
            if machine.fault is None
            else self.self.view(machine.fault.name, machine.fault.type)
        )
        self._self = ctypes.c_void_p(self.self.address)
        self.arguments = (
            self._self,
            ctypes.c_void_p(self.input.address),
            ctypes.c_void_p(self.output.address),
        )
        self._tick = self.bound()
        library.init(self._self, ctypes.c_void_p(library.weights.address))

    def _flag(self, output: Buffer) -> AnyArray | None:
        """The view of the flag of an output that may be absent."""
        flag = self.library.machine.present.get(output)
        return None if flag is None else self.output.view(flag.name, flag.type)

    def tick(self) -> int:
        """One tick on what lies in `inputs`: 0, or the number of the check that failed."""
        return self._tick()

    def bound(self, given: int | None = None) -> Callable[[], int]:
        """`tick` without a look-up: for loops in which a tenth of a microsecond counts.

        `given` is the address of another struct of inputs, which the caller keeps.
        """
        library, own = self.library, self.input.address if given is None else given
        addresses = (self.self.address, own, self.output.address)
        memory = (self.self, self.input, self.output, library.weights)
        return calls.bound(library.dll, library.sources.name, library.step, addresses, memory)

    def give(self, inputs: Sequence[AnyArray]) -> None:
        """Writes inputs that are in the carriers of their formats."""
        buffers = self.library.machine.inputs
        for view, buffer, x in zip(self.inputs, buffers, inputs, strict=True):
            view[...] = kept(buffer.units, x)

    def results(self) -> list[AnyArray]:
        """The outputs in the carriers of their formats, absent ones included."""
        buffers = self.library.machine.outputs
        return [carried(b.units, y).copy() for b, y in zip(buffers, self.outputs, strict=True)]

    def reset(self) -> None:
        self.library.reset(self._self)


class CProgram:
    """The `Executor` of a lowered node, compiled."""

    def __init__(self, lowered: Lowered, arithmetic: Arithmetic = "strict") -> None:
        self.lowered = lowered
        self.library = Library(schedule(lowered), arithmetic)
        self.instance = Instance(self.library)
        self._given = (
            self.instance.inputs[:-1] if lowered.ended is not None else self.instance.inputs
        )
        self._ended = self.instance.inputs[-1] if lowered.ended is not None else None
        self._tick = self.instance.bound()
        self._before = None if self.instance.fault is None else self.instance.self.raw.copy()
        buffers = self.library.machine.outputs
        self._shown = list(zip(self.instance.outputs, self.instance.present, buffers, strict=True))
        self._taken = self.library.machine.inputs
        self._whole = all(f is None and b.units is None for _, f, b in self._shown)

    @property
    def scheduled(self) -> Scheduled:
        return self.library.scheduled

    @property
    def sources(self) -> Sources:
        return self.library.sources

    def reset(self) -> None:
        self.instance.reset()

    def step(self, inputs: list[AnyArray], ended: bool = False) -> list[AnyArray | None]:
        for view, buffer, x in zip(self._given, self._taken, inputs):
            view[...] = kept(buffer.units, x)
        if self._ended is not None:
            self._ended[...] = ended
        self._keep()
        failed = self._tick()
        if failed:
            self._put_back(failed)
            raise CheckFailed(failed - 1)
        if self._whole:
            return [y.copy() for y in self.instance.outputs]
        return [
            None if flag is not None and not flag else carried(b.units, y).copy()
            for y, flag, b in self._shown
        ]

    def run(self, inputs: list[AnyArray], ticks: int, ended: bool = False) -> list[Columns]:
        if self._ended is not None:
            self._ended[...] = ended
        outputs = self.library.machine.outputs
        values = [np.zeros((ticks, *b.type.shape), b.type.format.dtype) for b in outputs]
        flags = [np.ones(ticks, bool) for _ in outputs]
        given = [np.ascontiguousarray(kept(b.units, x)) for b, x in zip(self._taken, inputs)]
        for x, view in zip(given, self._given, strict=True):
            assert x.dtype == view.dtype and x.shape == (ticks, *view.shape), (
                x.dtype,
                x.shape,
                view.dtype,
                view.shape,
            )
        failed = ctypes.c_int32(0)
        self._keep()
        columns = (_pointers(given), _pointers(values), _pointers(flags), ctypes.byref(failed))
        done = int(self.library.run(*self.instance.arguments, ticks, *columns))
        if number := failed.value:
            self._put_back()
            self.library.run(*self.instance.arguments, done, *columns)
            self._keep()
            self._put_back(number)
            raise CheckFailed(number - 1, done)
        return [
            Columns(carried(b.units, v), f) for b, v, f in zip(outputs, values, flags, strict=True)
        ]

    def _keep(self) -> None:
        """The instance as it is before a tick that a check may stop: states are updated in place, in C."""
        if self._before is not None:
            np.copyto(self._before, self.instance.self.raw)

    def _put_back(self, failed: int = 0) -> None:
        """The instance as it was kept, stopped by a check or not."""
        if self._before is not None and self.instance.fault is not None:
            np.copyto(self.instance.self.raw, self._before)
            self.instance.fault[...] = failed

    def get_state(self) -> dict[str, AnyArray]:
        held = self.scheduled.states
        return {n: carried(held[n].units, x).copy() for n, x in self.instance.states.items()}

    def set_state(self, state: Mapping[str, AnyArray]) -> None:
        for name, x in state.items():
            self.instance.states[name][...] = kept(self.scheduled.states[name].units, x)
        if self.instance.fault is not None:
            self.instance.fault[...] = 0


def _pointers(arrays: list[AnyArray]) -> ctypes.Array[ctypes.c_void_p]:
    """A C array of addresses; the arrays must stay alive during the call."""
    return (ctypes.c_void_p * max(1, len(arrays)))(*(a.ctypes.data for a in arrays))
