"""Ten million ticks through a learner with frames, as C: memory that is resident afterwards beside memory after the first ticks.

A recurrent network is trained by back-propagation through segments that the data close. It runs in a process of its own, which
reads its resident memory from `/proc/self/statm` between calls of a million ticks in all; inputs and results stay in one place.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bench.report import Bench, Result

Array: TypeAlias = "np.ndarray[Any, Any]"
TICKS, WARM_UP, CHUNK = 10_000_000, 200_000, 20_000
TINY = 60_000
IN, HIDDEN, LONGEST = 4, 8, 64
STATM = Path("/proc/self/statm")


def program() -> Any:
    """A tick of data in; the loss of a segment where it closes."""
    import seiche as sc

    gru, head = sc.learn.GRU(IN, HIDDEN), sc.learn.Dense(HIDDEN, 1)
    start = {"gru": gru.init(key=0), "head": head.init(key=1)}

    def loss(w: Any, x: Any, y: Any) -> Any:
        return sc.square(head(w["head"], gru(w["gru"], x))[0] - y)

    def learner(x: Any, y: Any, done: Any) -> Any:
        w = sc.state(start)
        with sc.frame(max=LONGEST, until=done) as segment:
            error, dw = sc.value_and_grad(loss)(w, x, y)
        slope = sc.learn.clip_by_global_norm(segment.sum(dw), 1.0)
        w.next = sc.map_tree(lambda a, b: a - 0.01 * b, w, slope)
        return segment.sum(error), segment.closes

    learner.__annotations__ = {"x": sc.f32[IN], "y": sc.f32, "done": sc.bool_}
    return sc.compile(sc.node(learner), target="c")  # type: ignore[arg-type]


def data() -> tuple[Array, Array, Array]:
    """A chunk of inputs; what is to be learnt is a mean of the past; segments of 1 to `LONGEST` ticks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(CHUNK, IN)).astype(np.float32)
    y = np.convolve(x[:, 0], 0.5 ** np.arange(8))[:CHUNK].astype(np.float32)
    ends = np.cumsum(rng.integers(1, LONGEST + 1, CHUNK))
    done = np.zeros(CHUNK, bool)
    done[ends[ends < CHUNK] - 1] = True
    done[-1] = True
    last = np.flatnonzero(done)[:-1][-1]
    done[last + LONGEST :: LONGEST] = True
    return x, y, done


def resident_bytes() -> int:
    """Of this process; allocates nothing that stays."""
    return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Stream:
    """The program, fed in place."""

    def __init__(self) -> None:
        self.program = program()
        executor = self.program.executor
        self.run, self.instance = executor.library.run, executor.instance
        given = [*data()]
        if self.program.lowered.ended is not None:
            given.append(np.zeros(CHUNK, bool))
        machine = executor.library.machine
        self.values = [
            np.zeros((CHUNK, *b.type.shape), b.type.format.dtype) for b in machine.outputs
        ]
        flags = [np.ones(CHUNK, bool) for _ in machine.outputs]
        self.failed = ctypes.c_int32(0)
        self.arrays = [given, self.values, flags]
        self.pointers = [
            (ctypes.c_void_p * len(a))(*(x.ctypes.data for x in a)) for a in self.arrays
        ]
        self.flags = flags

    def chunk(self) -> float:
        """`CHUNK` ticks; the mean loss per tick."""
        self.run(*self.instance.arguments, CHUNK, *self.pointers, ctypes.byref(self.failed))
        assert not self.failed.value, "a frame overflowed"
        return float(self.values[0].sum(where=self.flags[0])) / CHUNK


def serve(pipe: Connection, ticks: int) -> None:
    """The child: (ticks so far, resident bytes, loss) per percent."""
    stream = Stream()
    done = 0
    while done < ticks + WARM_UP:
        loss = stream.chunk()
        done += CHUNK
        if done >= WARM_UP and done % max(CHUNK, ticks // 100 // CHUNK * CHUNK) == 0:
            pipe.send((done - WARM_UP, resident_bytes(), loss))
    pipe.send(stream.program.executor.scheduled.plan.struct_bytes)


def readings(ticks: int) -> Iterator[Any]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, ticks))
    child.start()
    theirs.close()
    try:
        while True:
            yield ours.recv()
    except EOFError:
        child.join()


def run(bench: Bench) -> Result:
    result = Result("endurance")
    if not STATM.exists():
        result.claim(
            "resident memory over a long stream", "flat to the byte", "no /proc here", None
        )
        return result
    ticks = bench.pick(TICKS, TINY)
    began = time.perf_counter()
    found: list[Any] = []
    with bench.status(f"{ticks:,} ticks") as say:
        for reading in readings(ticks):
            found.append(reading)
            if isinstance(reading, tuple):
                say(f"{reading[0]:,} done, {reading[1]:,} B resident, loss {reading[2]:.4f}")
    *points, struct_bytes = found
    sizes = [size for _, size, _ in points]
    losses = [loss for _, _, loss in points]
    seconds = time.perf_counter() - began
    bench.table(
        f"A learner with frames, {ticks:,} ticks, {struct_bytes:,} B of its own",
        ["", "after the first ticks", "least", "most", "at the end"],
        [
            ["resident, B", *(f"{n:,}" for n in (sizes[0], min(sizes), max(sizes), sizes[-1]))],
            [
                "loss per tick",
                *(f"{x:.4f}" for x in (losses[0], min(losses), max(losses), losses[-1])),
            ],
        ],
    )
    flat = len(set(sizes)) == 1
    said = (
        f"{sizes[-1] - sizes[0]:+,} B over {ticks:,} ticks, {len(sizes)} readings, {seconds:.0f} s"
    )
    result.claim(
        "resident memory of a learner with frames over 10^7 ticks", "flat to the byte", said, flat
    )
    result.data |= {"points": points, "struct_bytes": struct_bytes, "ticks": ticks}
    return result
