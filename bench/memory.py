"""Bytes: what the plan predicts beside what a compiled program touches, on the examples and on random programs.

- `sizeof` of the four structs, as the C compiler laid them out, is what was predicted;
- `init` writes the states and the pointer to the weights, and nothing else;
- a tick touches nothing outside its structs, and within the scratch memory it reaches the last byte of each arena: the arenas are
  neither too small nor too large;
- results do not depend on what the scratch memory held before.

A byte is touched if it changes when memory is filled with 0xA5 beforehand, or when it is filled with 0x5A. Where the inputs do not lead
into all branches, the same program is compiled once more with a coin in place of each condition.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from bench.report import Bench, Result

Array: TypeAlias = "np.ndarray[Any, Any]"
PATTERNS = (0xA5, 0x5A)
GUARD = 4096
"""Bytes before and after each struct that nobody may touch."""
PROGRAMS, TICKS = 150, 40


@dataclass
class Verdict:
    """What was found of one program; `faults` is empty where all is as predicted."""

    name: str
    struct_bytes: int = 0
    arenas: dict[str, int] = field(default_factory=dict[str, int])
    reached: dict[str, int] = field(default_factory=dict[str, int])
    coin: bool = False
    faults: list[str] = field(default_factory=list[str])


def run(bench: Bench) -> Result:
    result = Result("memory")
    verdicts: list[Verdict] = []
    count = bench.pick(PROGRAMS, 3)
    with bench.status("memory") as say:
        for name, lowered in [*examples(), *random_programs(count)]:
            say(name)
            verdicts.append(judge(name, lowered))
    named = [v for v in verdicts if not v.name.startswith("random")]
    rows = [
        [v.name, v.struct_bytes, _arenas(v), "; ".join(v.faults) or "as predicted"] for v in named
    ]
    bench.table("Bytes of the examples", ["", "struct", "scratch: reached of predicted", ""], rows)
    for v in verdicts:
        for fault in v.faults:
            bench.console.print(f"{v.name}: {fault}", style="red", markup=False)
    good = sum(not v.faults for v in verdicts)
    coins = sum(v.coin for v in verdicts)
    scratch = sum(bool(v.arenas) for v in verdicts)
    said = f"{good} of {len(verdicts)} ({len(named)} examples; {scratch} have scratch memory; {coins} with branches forced)"
    result.claim(
        "programs whose measured bytes are those predicted", "all", said, good == len(verdicts)
    )
    result.data["programs"] = [v.__dict__ for v in verdicts]
    return result


def _arenas(v: Verdict) -> str:
    return ", ".join(f"{k} {v.reached.get(k, 0)}/{n}" for k, n in v.arenas.items()) or "none"


# --------------------------------------------------------------------------------------- programs


def examples() -> Iterator[tuple[str, Any]]:
    """Every node at the top of a module of `examples/` that can be traced as it is, and the cells of the timing benches."""
    import seiche as sc
    from bench.cells import Cell
    from bench.contestants import program
    from seiche.schedule.lower import lower

    for module in _modules("examples"):
        for name, value in vars(module).items():
            if hasattr(value, "trace") and hasattr(value, "name") and not _asks(sc, value):
                yield f"{module.__name__}:{name}", lower(value.trace().node)
    for cell in (Cell("gru", 40, 128), Cell("lstm", 40, 256)):
        yield cell.title, program(cell).lowered


def _asks(sc: Any, node: Any) -> bool:
    """Whether the node wants more than its annotations say."""
    return (
        any(d.severity == "error" for d in sc.diagnose(node)) if hasattr(sc, "diagnose") else False
    )


def _modules(package: str) -> Iterator[Any]:
    import importlib
    import pkgutil

    root = importlib.import_module(package)
    for info in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not info.name.endswith("__main__"):
            try:
                yield importlib.import_module(info.name)
            except ModuleNotFoundError:  # an example that needs an extra which is not installed
                continue


def random_programs(count: int) -> Iterator[tuple[str, Any]]:
    from seiche.schedule.lower import lower
    from tests.programs import random_program

    for seed in range(count):
        # Every other one is large, so that its buffers share scratch memory.
        yield f"random {seed}", lower(random_program(seed, 60 if seed % 2 else None))


# ----------------------------------------------------------------------------------------- verdict


def judge(name: str, lowered: Any) -> Verdict:
    """Builds a program and looks at which bytes it touches."""
    from seiche.backends.c.binding import Library
    from seiche.schedule.machine import schedule

    scheduled = schedule(lowered)
    library = Library(scheduled)
    plan = scheduled.plan
    found = Verdict(name, plan.struct_bytes, {k: n for k, n in plan.arena_bytes.items() if n})
    measured = tuple((ctypes.c_uint64 * 4).in_dll(library.dll, f"{library.sources.name}_sizes"))
    predicted = (plan.struct_bytes, plan.in_bytes, plan.out_bytes, plan.weights_bytes)
    if measured[:3] != predicted[:3] or measured[3] != max(predicted[3], 1):
        found.faults.append(f"sizeof is {measured}, predicted {predicted}")
    _initialised(found, library)
    inputs = _inputs(lowered)
    _ticks(found, library, library.step, inputs, compare=True)
    for extent in _extents(lowered) if _short(found) else ():
        _ticks(found, library, library.step, _full_frames(lowered, extent), compare=True)
    if _short(found):
        found.coin = True
        _ticks(found, library, tossed(library), inputs, compare=False)
    for k, n in found.arenas.items():
        if found.reached.get(k, 0) != n:
            found.faults.append(f"arena {k}: {found.reached.get(k, 0)} bytes reached of {n}")
    return found


def _short(found: Verdict) -> bool:
    """Whether the top of an arena has not been reached yet."""
    return any(found.reached.get(k, 0) < n for k, n in found.arenas.items())


def _extents(lowered: Any) -> list[int]:
    """The maxima of the frames and scans whose length depends on data."""
    from seiche.ir.core import Scan, walk

    rhs = [eq.rhs for node in walk(lowered.node) for eq in node.eqs]
    return sorted(
        {r.extent for r in rhs if isinstance(r, Scan) and r.length is not None and r.extent <= 4096}
    )


def _inputs(lowered: Any, ticks: int = TICKS) -> list[Array]:
    from tests.programs import values

    rng = np.random.default_rng(5)
    node = lowered.node
    rows = [values(rng, v.type, (ticks,)) for v in node.inputs]
    if lowered.ended is not None:
        rows[-1] = np.arange(ticks) >= ticks - 4
    return [np.asarray(x) for x in rows]


def _full_frames(lowered: Any, extent: int) -> list[Array]:
    """Inputs whose conditions hold once every `extent` ticks: frames that they close are full."""
    rows = _inputs(lowered, 2 * extent)
    closes = np.arange(2 * extent) % extent == extent - 1
    for i, x in enumerate(rows[: len(lowered.node.inputs) - (lowered.ended is not None)]):
        if x.dtype == bool:
            rows[i] = np.broadcast_to(closes.reshape(-1, *[1] * (x.ndim - 1)), x.shape)
    return rows


class Guarded:
    """A struct between two guard zones, all of it filled with a pattern."""

    def __init__(self, layout: Any, pattern: int) -> None:
        from seiche.backends.c.binding import Memory

        size = -(-layout.size // 64) * 64
        whole = np.full(size + 2 * GUARD + 64, pattern, np.uint8)
        start = -whole.ctypes.data % 64 + GUARD
        self.pattern, self.layout, self.whole, self.start = pattern, layout, whole, start
        self.raw = whole[start : start + layout.size]
        self.memory = Memory(self.raw, layout, self.raw.ctypes.data)
        self.pointer = ctypes.c_void_p(self.raw.ctypes.data)

    def outside(self) -> bool:
        """Whether a guard zone was touched."""
        end = self.start + self.layout.size
        return bool(
            (self.whole[: self.start] != self.pattern).any()
            or (self.whole[end:] != self.pattern).any()
        )


def _initialised(found: Verdict, library: Any) -> None:
    """`init` writes as many bytes as there are states, and a pointer."""
    written = np.zeros(library.layouts[0].size, bool)
    for pattern in PATTERNS:
        memory = Guarded(library.layouts[0], pattern)
        library.init(memory.pointer, ctypes.c_void_p(library.weights.address))
        written |= memory.raw != pattern
        if memory.outside():
            found.faults.append("init writes outside its struct")
    plan = library.scheduled.plan
    wanted = plan.state_bytes + plan.pointer_bytes
    if int(written.sum()) != wanted:
        found.faults.append(f"init writes {int(written.sum())} bytes, predicted {wanted}")


def _ticks(
    found: Verdict, library: Any, step: Callable[..., int], inputs: list[Array], compare: bool
) -> None:
    """Runs the stream once per pattern; notes the last byte that is touched in each arena."""
    histories: list[list[bytes]] = []
    touched: dict[str, Array] = {}
    for pattern in PATTERNS:
        self, given, out = (Guarded(layout, pattern) for layout in library.layouts[:3])
        library.init(self.pointer, ctypes.c_void_p(library.weights.address))
        history: list[bytes] = []
        for t in range(len(inputs[0]) if inputs else TICKS):
            _tick(library, step, (self, given, out), [x[t] for x in inputs], touched)
            history.append(out.raw.tobytes())
            out.raw[:] = 0
        histories.append(history)
        if self.outside() or given.outside() or out.outside():
            found.faults.append("a tick touches memory outside its structs")
    if compare and not _same(library, histories):
        found.faults.append("results depend on what the scratch memory held")
    for name, bytes_ in touched.items():
        last = np.flatnonzero(bytes_)
        found.reached[name] = max(found.reached.get(name, 0), int(last[-1]) + 1 if len(last) else 0)


def _tick(
    library: Any,
    step: Callable[..., int],
    structs: tuple[Guarded, Guarded, Guarded],
    row: list[Array],
    touched: dict[str, Array],
) -> None:
    """One tick, its scratch memory filled with the pattern beforehand."""
    self, given, out = structs
    machine = library.machine
    for buffer, x in zip(machine.inputs, row, strict=True):
        given.memory.view(buffer.name, buffer.type)[...] = x
    arenas = [m for m in self.layout.members if m.name.startswith("scratch_") and m.buffer is None]
    spans = {
        m.name.removeprefix("scratch_"): slice(o := self.layout.offsets[m.name], o + m.nbytes)
        for m in arenas
    }
    for span in spans.values():
        self.raw[span] = self.pattern
    if step(self.pointer, given.pointer, out.pointer) and machine.fault is not None:
        self.memory.view(machine.fault.name, machine.fault.type)[...] = (
            0  # a frame overflowed: go on regardless
        )
    for name, span in spans.items():
        changed = self.raw[span] != self.pattern
        touched[name] = changed | touched[name] if name in touched else changed


def _same(library: Any, histories: list[list[bytes]]) -> bool:
    """Whether the present outputs of all ticks agree; an absent one is whatever was there."""
    machine, layout = library.machine, library.layouts[2]
    for one, other in zip(*histories, strict=True):
        for buffer in machine.outputs:
            flag = machine.present.get(buffer)
            if flag is not None and not one[layout.offsets[flag.name]]:
                continue
            start = layout.offsets[buffer.name]
            if one[start : start + buffer.type.nbytes] != other[start : start + buffer.type.nbytes]:
                return False
    return True


COIN = """
static uint32_t coin_state_ = 1u;
static int coin_(int given) { (void)given; coin_state_ = coin_state_ * 1664525u + 1013904223u; return (int)(coin_state_ >> 31); }
"""


def tossed(library: Any) -> Callable[..., int]:
    """The step with a coin in place of each condition: after some ticks every branch was taken."""
    from seiche.backends.c.build import build

    name, text = library.sources.name, library.sources.source
    head, mark, body = text.partition("static int32_t tick(")
    body = re.sub(
        r"^(\s*(?:\} else )?if \()(.*)(\) \{)$", r"\1coin_(\2)\3", body, flags=re.MULTILINE
    )
    body = body.replace("if (coin_(self->fault != 0))", "if (self->fault != 0)")
    path = build({f"{name}.h": library.sources.header, f"{name}.c": head + COIN + mark + body})
    found = ctypes.CDLL(str(path))[f"{name}_step"]
    found.restype, found.argtypes = ctypes.c_int32, [ctypes.c_void_p] * 3
    return found
