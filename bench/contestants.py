"""The contestants of `step`: each function builds one, checks it against the reference and returns how to call it.

They run in processes of their own, so that each peer may configure its library as it likes.
"""

from __future__ import annotations

import ctypes
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.cells import TICKS, Array, Cell, gru, lstm
from bench.measure import Job

C_SOURCES = Path(__file__).parent / "c"
Step = Callable[[int], Any]


def repeat(step: Step) -> Step:
    """`run(n)`: n calls, with inputs that take turns."""

    def run(n: int) -> None:
        for k in range(n):
            step(k % TICKS)

    return run


# --------------------------------------------------------------------------------------------- ours


def program(cell: Cell, arithmetic: str = "strict") -> Any:
    """The cell, compiled to C."""
    import seiche as sc

    layer, params = cell.layer(), cell.parameters()

    def model(x: Any) -> Any:
        return layer(params, x)

    model.__annotations__ = {"x": sc.f32[cell.inputs], "return": sc.f32[cell.hidden]}
    return sc.compile(sc.node(model), target="c", arithmetic=arithmetic)  # type: ignore[arg-type]


def seiche_step(cell: Cell) -> Job:
    """`Program.step`: numpy in, numpy out, checked."""
    compiled, rows = program(cell), list(cell.stream())
    error = cell.error([compiled.step(x) for x in rows])
    step = compiled.step
    return Job(repeat(lambda k: step(rows[k])), error)


def seiche_tick(cell: Cell) -> Job:
    """`Instance.tick` on views of the structs: the input is written in place, the output is read in place."""
    instance, rows = program(cell).executor.instance, list(cell.stream())
    view, tick, output = instance.inputs[0], instance.bound(), instance.outputs[0]

    def step(k: int) -> None:
        view[...] = rows[k]
        tick()

    hidden: list[Array] = []
    for k in range(TICKS):
        step(k)
        hidden.append(output.copy())
    return Job(repeat(step), cell.error(hidden))


# -------------------------------------------------------------------------------------------- peers


def jax_step(cell: Cell, asynchronous: bool, numpy: bool) -> Job:
    """`jax.jit` of one step with the state donated; inputs on the device and `block_until_ready`, or numpy in and out."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_cpu_enable_async_dispatch", asynchronous)
    p = {name: jnp.asarray(value) for name, value in cell.parameters().items()}
    sigmoid = jax.nn.sigmoid

    def one(state: Any, x: Any) -> Any:
        if cell.kind == "gru":
            h = gru(jnp, p, state[0], x, sigmoid)
            return (h,), h
        h, c = lstm(jnp, p, *state, x, sigmoid)
        return (h, c), h

    compiled = jax.jit(one, donate_argnums=0)
    rows = list(cell.stream()) if numpy else [jnp.asarray(x) for x in cell.stream()]
    held = [tuple(jnp.zeros(cell.hidden) for _ in range(cell.gates - 2))]

    def step(k: int) -> Any:
        held[0], y = compiled(held[0], rows[k])
        return np.asarray(y) if numpy else y.block_until_ready()

    return Job(
        repeat(step),
        cell.error([np.asarray(step(k)) for k in range(TICKS)]),
        {"version": jax.__version__},
    )


def onnx_model(cell: Cell) -> bytes:
    """The cell as the GRU or LSTM op of ONNX, whose gates are ordered z, r, n and i, o, f, g; transposed weights."""
    from onnx import TensorProto, helper, numpy_helper

    p, n = cell.parameters(), cell.hidden
    order = (1, 0, 2) if cell.kind == "gru" else (0, 3, 1, 2)

    def ordered(x: Array) -> Array:
        return np.concatenate([x[..., k * n : (k + 1) * n] for k in order], axis=-1)

    biases = [ordered(p["bias"]), ordered(p.get("recurrent_bias", np.zeros_like(p["bias"])))]
    constants = {
        "W": ordered(p["input"]).T[None], "R": ordered(p["recurrent"]).T[None], "B": np.concatenate(biases)[None]
    }  # fmt: skip
    memories = ["h"] if cell.kind == "gru" else ["h", "c"]
    options: dict[str, Any] = {"linear_before_reset": 1} if cell.kind == "gru" else {}
    outputs = ["", *(f"{m}_next" for m in memories)]
    one = helper.make_node(
        cell.kind.upper(), ["x", "W", "R", "B", "", *memories], outputs, hidden_size=n, **options
    )

    def value(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, size])

    graph = helper.make_graph(
        [one], "cell", [value("x", cell.inputs), *(value(m, n) for m in memories)],
        [value(f"{m}_next", n) for m in memories],
        [numpy_helper.from_array(np.ascontiguousarray(x), name) for name, x in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return bytes(model.SerializeToString())


def _session(cell: Cell) -> tuple[Any, Any, list[str]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        onnx_model(cell), options, providers=["CPUExecutionProvider"]
    )
    return onnxruntime, session, ["h"] if cell.kind == "gru" else ["h", "c"]


def onnx_binding(cell: Cell) -> Job:
    """ONNX Runtime with everything bound beforehand: the input is written in place, two sets of states swap roles.

    An OrtValue on the CPU is a view of the array that it was made from: each has an array of its own, which is kept.
    """
    runtime, session, memories = _session(cell)
    place = runtime.OrtValue.ortvalue_from_numpy
    rows, x = (
        list(cell.stream().reshape(TICKS, 1, 1, -1)),
        np.zeros((1, 1, cell.inputs), np.float32),
    )
    states = np.zeros((2, len(memories), 1, 1, cell.hidden), np.float32)
    given, sides = place(x), [[place(s) for s in side] for side in states]
    bindings: list[Any] = []
    for now, after in (sides, sides[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", given)
        for m, before, next in zip(memories, now, after):
            binding.bind_ortvalue_input(m, before)
            binding.bind_ortvalue_output(f"{m}_next", next)
        bindings.append(binding)

    def step(k: int) -> Any:
        x[...] = rows[k]
        session.run_with_iobinding(bindings[k & 1])

    hidden: list[Array] = []
    for k in range(TICKS):
        step(k)
        hidden.append(sides[1 - (k & 1)][0].numpy().reshape(-1).copy())
    return Job(repeat(step), cell.error(hidden), {"version": runtime.__version__}, keep=(x, states))


def onnx_numpy(cell: Cell) -> Job:
    """ONNX Runtime's `session.run`: numpy in, numpy out."""
    runtime, session, memories = _session(cell)
    names = [f"{m}_next" for m in memories]
    rows = [x.reshape(1, 1, -1) for x in cell.stream()]
    held = [{m: np.zeros((1, 1, cell.hidden), np.float32) for m in memories}]

    def step(k: int) -> Array:
        values = session.run(names, {"x": rows[k], **held[0]})
        held[0] = dict(zip(memories, values))
        return values[0].reshape(-1)

    return Job(
        repeat(step), cell.error([step(k) for k in range(TICKS)]), {"version": runtime.__version__}
    )


# ---------------------------------------------------------------------------------------- inside C


def _library(files: tuple[str, ...], *extra: str) -> Any:
    """Sources of `bench/c`, compiled with the compiler that Seiche uses, for this machine, at its highest level."""
    from seiche.backends.c import build

    compiler = build.find_compiler()
    arm = platform.machine().lower() in ("aarch64", "arm64")
    native = ("-mcpu=native",) if arm else ("-march=native", "-mprefer-vector-width=512")
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        arguments = ["-std=gnu99", "-O3", *native, *extra, "-fPIC", "-shared", "-o", "library.so"]
        headers = ("vectors.h",)
        sources = {f: (C_SOURCES / f).read_text(encoding="utf-8") for f in (*files, *headers)}
        build.run_compiler(compiler, arguments, sources, Path(place))
        return ctypes.CDLL(str(Path(place) / "library.so"))


def aligned(count: int) -> Array:
    """f32 zeros that start on a cache line."""
    whole = np.zeros(4 * count + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return whole[start : start + 4 * count].view(np.float32)


def _pointer(x: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.ctypes.data)


def _looped(
    cell: Cell, loop: Any, step: Any, memory: tuple[Any, Any, Any], output: Array, **others: Any
) -> Job:
    """A job whose loop over ticks is in C; `memory` is what a step gets: itself, its input, its output."""
    rows = np.ascontiguousarray(cell.stream())
    loop.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_size_t] * 3
    address = ctypes.cast(step, ctypes.c_void_p)
    row_bytes = rows.strides[0]

    def run(n: int) -> None:
        loop(address, *memory, _pointer(rows), row_bytes, TICKS, n)

    hidden: list[Array] = []
    for k in range(TICKS):
        loop(address, *memory, _pointer(rows[k]), row_bytes, 1, 1)
        hidden.append(output.copy())
    return Job(run, cell.error(hidden), **others)


def seiche_in_c(cell: Cell, arithmetic: str = "strict") -> Job:
    """The generated step."""
    compiled = program(cell, arithmetic)
    instance, plan = compiled.executor.instance, compiled.executor.scheduled.plan
    memory = tuple(
        ctypes.c_void_p(m.address) for m in (instance.self, instance.input, instance.output)
    )
    facts = {"struct_bytes": plan.struct_bytes, "weights_bytes": plan.weights_bytes}
    loop = _library(("loop.c",)).loop_steps
    return _looped(
        cell,
        loop,
        compiled.executor.library.step,
        memory,
        instance.outputs[0],
        facts=facts,
        keep=compiled,
    )


def hand_in_c(cell: Cell) -> Job:
    """The hand-written step."""
    library, kind = _library((f"{cell.kind}.c", "loop.c")), cell.kind
    sizes = (ctypes.c_uint64 * 2).in_dll(library, f"{kind}_bytes")
    p = cell.parameters()
    names = ("input", "recurrent", "bias", "recurrent_bias")
    weights, self = aligned(sizes[0] // 4), aligned(-(-sizes[1] // 4))
    weights[:] = np.concatenate([p[name].reshape(-1) for name in names if name in p])
    x, y = aligned(cell.inputs), aligned(cell.hidden)
    library[f"{kind}_init"](_pointer(self), _pointer(weights))
    facts = {"struct_bytes": int(sizes[1]), "weights_bytes": int(sizes[0])}
    memory = (_pointer(self), _pointer(x), _pointer(y))
    step = library[f"{kind}_step"]
    return _looped(
        cell, library.loop_steps, step, memory, y, facts=facts, keep=(weights, self, x, y)
    )


def floor(cell: Cell) -> Job:
    """Reads as many bytes as the cell has weights, from wherever in the caches they fit."""
    library = _library(("loop.c",))
    count = sum(x.size for x in cell.parameters().values()) // 128 * 128
    data = aligned(count)
    data[:] = (
        1.0  # pages that were never written would all be one page of zeros, in the nearest cache
    )
    read = library.loop_read
    read.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    read.restype = ctypes.c_float

    def run(n: int) -> None:
        read(_pointer(data), count, n)

    return Job(run, 0.0, {"weights_bytes": 4 * count}, keep=data)
