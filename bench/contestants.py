"""The contestants of `step` and `train`: each function builds one, checks it against the reference and returns how to call it.

They run in processes of their own, so that each peer may configure its library as it likes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import numpy as np

from bench.by_hand import aligned, library, packed, pointer
from bench.cells import Cell
from bench.measure import Job
from bench.portable import OnnxGraph
from bench.workloads import Array, Workload

Step = Callable[[int], Any]


def repeat(step: Step, ticks: int) -> Step:
    """`run(n)`: n calls, with inputs that take turns."""

    def run(n: int) -> None:
        for k in range(n):
            step(k % ticks)

    return run


# --------------------------------------------------------------------------------------------- ours


def program(work: Workload, arithmetic: str = "strict", block: int = 1) -> Any:
    """The workload, compiled to C; with `block`, so many ticks at a time."""
    import seiche as sc

    node = work.node() if block == 1 else sc.to_space(work.node(), block)
    return sc.compile(node, target="c", arithmetic=arithmetic)  # type: ignore[arg-type]


def seiche_step(work: Workload) -> Job:
    """`Program.step`: numpy in, numpy out, checked."""
    compiled, rows = program(work), work.rows()
    error = work.error([compiled.step(*row) for row in rows])
    step = compiled.step
    return Job(repeat(lambda k: step(*rows[k]), len(rows)), error)


def seiche_tick(work: Workload) -> Job:
    """`Instance.tick` on views of the structs: inputs are written in place, the output is read in place."""
    instance, rows = program(work).executor.instance, work.rows()
    views, tick, output = instance.inputs, instance.bound(), instance.outputs[0]

    def step(k: int) -> None:
        for view, x in zip(views, rows[k]):
            view[...] = x
        tick()

    found: list[Array] = []
    for k in range(len(rows)):
        step(k)
        found.append(output.copy())
    return Job(repeat(step, len(rows)), work.error(found))


def seiche_call(work: Workload) -> Job:
    """The call of a step and nothing else: its inputs lie where they were made, which it is told."""
    compiled = program(work)
    instance, output = compiled.executor.instance, compiled.executor.instance.outputs[0]
    structs = input_structs(work, instance)
    calls = [instance.bound(struct.ctypes.data) for struct in structs]
    found: list[Array] = []
    for call in calls:
        call()
        found.append(output.copy())

    def run(n: int) -> None:
        for call in islice(cycle(calls), n):
            call()

    return Job(run, work.error(found), keep=(compiled, structs))


def input_structs(work: Workload, instance: Any, block: int = 1) -> Array:
    """The input structs of all ticks, or blocks of ticks: [ticks / block, bytes], each on a cache line."""
    size = len(instance.input.raw)
    wide, count = -(-size // 64) * 64, work.ticks // block
    structs = aligned(wide * count).reshape(count, wide)[:, :size]
    columns = [
        np.stack(x).reshape(count, *view.shape)
        for x, view in zip(zip(*work.rows()), instance.inputs)
    ]
    for struct, row in zip(structs, zip(*columns)):
        for view, x in zip(instance.inputs, row):
            view[...] = x
        struct[:] = instance.input.raw
    return structs


# -------------------------------------------------------------------------------------------- peers


def jax_step(work: Workload, asynchronous: bool, numpy: bool) -> Job:
    """`jax.jit` of one step with the state donated; inputs on the device and `block_until_ready`, or numpy in and out."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_cpu_enable_async_dispatch", asynchronous)
    one, start = work.jax()
    compiled = jax.jit(one, donate_argnums=0)
    rows = [row if numpy else tuple(map(jnp.asarray, row)) for row in work.rows()]
    held = [start]

    def step(k: int) -> Any:
        held[0], y = compiled(held[0], *rows[k])
        return np.asarray(y) if numpy else y.block_until_ready()

    error = work.error([np.asarray(step(k)) for k in range(len(rows))])
    return Job(repeat(step, len(rows)), error, {"version": jax.__version__})


def onnx_model(work: Workload) -> tuple[bytes, tuple[str, ...], dict[str, Array]]:
    """(the model, its inputs, its states with what they start from)."""
    if isinstance(work, Cell):
        starts = {m: np.zeros((1, 1, work.hidden), np.float32) for m in work.memories}
        return cell_model(work), ("x",), starts
    g = OnnxGraph()
    p = work.portable(g)
    shapes = {n.name: n.shape for n in g.inputs}
    starts = {m: p.start.get(m, np.zeros(shapes[m], np.float32)) for m in p.after}
    return g.model(p), p.inputs, starts


def cell_model(cell: Cell) -> bytes:
    """The GRU or LSTM op of ONNX, whose gates are ordered z, r, n and i, o, f, g; transposed weights. States with a suffix leave."""
    from onnx import TensorProto, helper, numpy_helper

    p, n = cell.parameters(), cell.hidden
    order = (1, 0, 2) if cell.kind == "gru" else (0, 3, 1, 2)

    def ordered(x: Array) -> Array:
        return np.concatenate([x[..., k * n : (k + 1) * n] for k in order], axis=-1)

    biases = [ordered(p["bias"]), ordered(p.get("recurrent_bias", np.zeros_like(p["bias"])))]
    constants = {
        "W": ordered(p["input"]).T[None], "R": ordered(p["recurrent"]).T[None], "B": np.concatenate(biases)[None]
    }  # fmt: skip
    options: dict[str, Any] = {"linear_before_reset": 1} if cell.kind == "gru" else {}
    outputs = [f"{m}_next" for m in cell.memories]
    one = helper.make_node(
        cell.kind.upper(), ["x", "W", "R", "B", "", *cell.memories], ["", *outputs], hidden_size=n, **options
    )  # fmt: skip

    def value(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, size])

    graph = helper.make_graph(
        [one], "cell", [value("x", cell.inputs), *(value(m, n) for m in cell.memories)],
        [value(name, n) for name in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(x), name) for name, x in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return bytes(model.SerializeToString())


def _session(model: bytes) -> tuple[Any, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnxruntime, session


def onnx_binding(work: Workload) -> Job:
    """ONNX Runtime with everything bound beforehand: inputs are written in place, two sets of states swap roles.

    An OrtValue on the CPU is a view of the array that it was made from: each has an array of its own, which is kept.
    """
    model, names, starts = onnx_model(work)
    runtime, session = _session(model)
    place = runtime.OrtValue.ortvalue_from_numpy
    rows = [_given(work, row) for row in work.rows()]
    inputs = [x.copy() for x in rows[0]]
    states = [[x.copy() for x in starts.values()] for _ in range(2)]
    given, sides = [place(x) for x in inputs], [[place(s) for s in side] for side in states]
    bindings: list[Any] = []
    for now, after in (sides, sides[::-1]):
        binding = session.io_binding()
        for name, value in zip(names, given):
            binding.bind_ortvalue_input(name, value)
        for m, before, next in zip(starts, now, after):
            binding.bind_ortvalue_input(m, before)
            binding.bind_ortvalue_output(f"{m}_next", next)
        bindings.append(binding)
    shown = _output(work, session, bindings, place, sides)

    def step(k: int) -> Any:
        for x, value in zip(inputs, rows[k]):
            x[...] = value
        session.run_with_iobinding(bindings[k & 1])

    found: list[Array] = []
    for k in range(len(rows)):
        step(k)
        found.append(shown[k & 1].numpy().reshape(-1).copy())
    keep = (inputs, states, shown)
    return Job(repeat(step, len(rows)), work.error(found), {"version": runtime.__version__}, keep)


def _output(work: Workload, session: Any, bindings: list[Any], place: Any, sides: Any) -> list[Any]:
    """Where the output of either binding is found: the state h of a cell, else bound on its own."""
    if isinstance(work, Cell):
        return [sides[1][0], sides[0][0]]
    shape = next(o.shape for o in session.get_outputs() if o.name == "output")
    output = place(np.zeros(shape, np.float32))
    for binding in bindings:
        binding.bind_ortvalue_output("output", output)
    return [output, output]


def _given(work: Workload, row: tuple[Array, ...]) -> tuple[Array, ...]:
    """One tick's inputs; a cell's op wants an axis of time, too."""
    given = work.given(row)
    return tuple(x[None] for x in given) if isinstance(work, Cell) else given


def onnx_numpy(work: Workload) -> Job:
    """ONNX Runtime's `session.run`: numpy in, numpy out."""
    model, inputs, starts = onnx_model(work)
    runtime, session = _session(model)
    names = [f"{m}_next" for m in starts] + ([] if isinstance(work, Cell) else ["output"])
    rows = [dict(zip(inputs, _given(work, row))) for row in work.rows()]
    held = [starts]

    def step(k: int) -> Array:
        values = session.run(names, {**rows[k], **held[0]})
        held[0] = dict(zip(starts, values))
        return (values[0] if isinstance(work, Cell) else values[-1]).reshape(-1)

    error = work.error([step(k) for k in range(len(rows))])
    return Job(repeat(step, len(rows)), error, {"version": runtime.__version__})


def lite_invoke(work: Workload) -> Job:
    """LiteRT's `invoke` alone, one thread: in the race nothing is copied, not even the states, which weighs in its favour.

    Parameters that are trained are its resource variables.
    """
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    from bench.lite import LiteGraph

    trained = work.trained()
    g = LiteGraph(trained)
    p = work.portable(g)
    lite = Interpreter(model_content=g.model(p), num_threads=1)
    lite.allocate_tensors()
    places = {n.name: d["index"] for n, d in zip(g.inputs, lite.get_input_details())}
    results = [d["index"] for d in lite.get_output_details()]
    states = [name for name in p.after if name not in trained]
    for n in g.inputs:
        lite.set_tensor(places[n.name], np.zeros(n.shape, np.float32))

    def step(row: tuple[Array, ...]) -> Array:
        for name, x in zip(p.inputs, work.given(row)):
            lite.set_tensor(places[name], x)
        lite.invoke()
        for name, result in zip(states, results[1:]):
            lite.set_tensor(places[name], lite.get_tensor(result))
        return lite.get_tensor(results[0]).reshape(-1)

    error = work.error([step(row) for row in work.rows()])
    invoke = lite.invoke

    def run(n: int) -> None:
        for _ in range(n):
            invoke()

    return Job(run, error, {"version": version("ai-edge-litert")}, keep=lite)


# ---------------------------------------------------------------------------------------- inside C


def _looped(
    work: Workload, loop: Any, step: Any, memory: tuple[Any, Any, Any], rows: Array, output: Array, **others: Any
) -> Job:  # fmt: skip
    """A job whose loop over ticks is in C. `memory` is what a step gets: itself, its input, its output; `rows` [ticks, bytes]."""
    loop.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_size_t] * 3
    address, (ticks, row_bytes) = ctypes.cast(step, ctypes.c_void_p), rows.shape

    def run(n: int) -> None:
        loop(address, *memory, pointer(rows), row_bytes, ticks, n)

    found: list[Array] = []
    for k in range(ticks):
        loop(address, *memory, pointer(rows[k]), row_bytes, 1, 1)
        found.append(output.copy())
    return Job(run, work.error(found), **others)


def seiche_in_c(work: Workload, arithmetic: str = "strict", block: int = 1) -> Job:
    """The generated step; a call makes `block` ticks."""
    compiled = program(work, arithmetic, block)
    instance, plan = compiled.executor.instance, compiled.executor.scheduled.plan
    memory = tuple(
        ctypes.c_void_p(m.address) for m in (instance.self, instance.input, instance.output)
    )
    structs = np.ascontiguousarray(input_structs(work, instance, block))
    facts = {
        "struct_bytes": plan.struct_bytes,
        "weights_bytes": plan.weights_bytes,
        "state_bytes": plan.state_bytes,
        "scratch_bytes": plan.scratch_bytes,
    }
    loop, step = library(("loop.c",)).loop_steps, compiled.executor.library.step
    return _looped(
        work, loop, step, memory, structs, instance.outputs[0], facts=facts, keep=compiled
    )


def hand_in_c(work: Workload, variant: str = "") -> Job:
    """The hand-written step."""
    hand = work.by_hand()[variant]
    made = library((*hand.files, "loop.c"), *hand.defines)
    sizes = (ctypes.c_uint64 * 2).in_dll(made, f"{hand.name}_bytes")
    values = packed(hand.weights)
    if len(values) != sizes[0]:
        raise ValueError(f"{hand.name}: {len(values)} bytes of weights, its struct has {sizes[0]}")
    weights, self = aligned(len(values)), aligned(sizes[1])
    weights[:] = values
    rows = np.stack([packed(list(row)) for row in work.rows()])
    x, y = aligned(rows.shape[1]), aligned(4 * hand.outputs)
    made[f"{hand.name}_init"](pointer(self), pointer(weights))
    facts = {"struct_bytes": int(sizes[1]), "weights_bytes": int(sizes[0])}
    memory = (pointer(self), pointer(x), pointer(y))
    step, output = made[f"{hand.name}_step"], y.view(np.float32)
    return _looped(
        work, made.loop_steps, step, memory, rows, output, facts=facts, keep=(weights, self, x, y)
    )


def floor(work: Workload) -> Job:
    """Reads as many bytes as the workload has weights, from wherever in the caches they fit."""
    made = library(("loop.c",))
    count = work.weights_bytes() // 4 // 128 * 128
    data = aligned(4 * count).view(np.float32)
    # Pages that were never written would all be one page of zeros, in the nearest cache.
    data[:] = 1.0
    read = made.loop_read
    read.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    read.restype = ctypes.c_float

    def run(n: int) -> None:
        read(pointer(data), count, n)

    return Job(run, 0.0, {"weights_bytes": 4 * count}, keep=data)


def multiply(count: int, fast: bool) -> Job:
    """So many products and sums per call, in registers: the floor of a program that is limited by arithmetic."""
    made = library(("loop.c",), *(() if fast else ("-ffp-contract=off",)))
    loop = made.loop_multiply
    loop.argtypes, loop.restype = [ctypes.c_size_t], ctypes.c_float

    def run(n: int) -> None:
        loop(n * count)

    return Job(run, 0.0, {"products": count})
