"""Products of i8 summed in i32, a row and a square of rows by constants: beside our own f32, ONNX Runtime and the floor; instructions on devices, of fixed point too."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
from typing import Any

import numpy as np

from bench import fixed_point
from bench.contestants import aligned, library, pointer
from bench.measure import Entry, Job, Times, contest, ratio
from bench.report import Bench, Result, number

ROUNDS = 30
SIZES = (128, 256, 512)
I8, PLAIN, F32 = "i8 in words", "i8, not packed", "f32"
ONNX, FLOOR = "ONNX Runtime MatMulInteger (IO binding)", "reading the weights"
BARS: dict[tuple[str, str], float] = {
    ("row", F32): 0.6, ("square", F32): 1 / 3, ("row", ONNX): 1.0, ("square", ONNX): 1.1,
}  # fmt: skip
"""Ours in words over these at most; at 128 a row is too short to show anything but calls."""
BOARDS = ("cortex-m4f", "cortex-m7", "cortex-m3", "riscv32imc")


def operands(m: int, size: int, dtype: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    shapes = ((m, size), (size, size))
    if dtype == "float32":
        x, w = (rng.normal(size=s).astype(np.float32) for s in shapes)
        return x, w
    x, w = (rng.integers(-128, 128, s).astype(np.int8) for s in shapes)
    return x, w


def error(found: Any, x: Any, w: Any) -> float:
    """Against f64, relative to the largest element: 0 for integers."""
    wanted = x.astype(np.float64) @ w.astype(np.float64)
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def program(m: int, size: int, how: str, target: str) -> tuple[Any, Any, Any]:
    """A node that is one product by constants; its operands."""
    import seiche as sc

    x, w = operands(m, size, "float32" if how == F32 else "int8")
    loops = sc.tile().fuse(False) if how == PLAIN else None

    def product(x: Any) -> Any:
        return sc.matmul(x, w, accumulate=None if how == F32 else sc.i32, loops=loops)

    product.__annotations__ = {"x": (sc.f32 if how == F32 else sc.i8)[m, size]}
    return sc.compile(sc.node(product), target=target), x, w  # type: ignore[arg-type]


def ours(m: int, size: int, how: str) -> Job:
    """The generated step, called from C."""
    compiled, x, w = program(m, size, how, "c")
    instance = compiled.executor.instance
    memory = [ctypes.c_void_p(p.address) for p in (instance.self, instance.input, instance.output)]
    rows = aligned(x.nbytes)
    rows[:] = x.reshape(-1).view(np.uint8)
    loop = library(("loop.c",)).loop_steps
    loop.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_size_t] * 3
    step = ctypes.cast(compiled.executor.library.step, ctypes.c_void_p)

    def run(count: int) -> None:
        loop(step, *memory, pointer(rows), x.nbytes, 1, count)

    run(1)
    facts = {"weights_bytes": compiled.executor.scheduled.plan.weights_bytes}
    return Job(run, error(instance.outputs[0], x, w), facts, (compiled, rows))


def floor(size: int) -> Job:
    """Reads as many bytes as the weights have."""
    made, count = library(("loop.c",)), size * size // 4 // 128 * 128
    data = aligned(4 * count).view(np.float32)
    data[:] = 1.0
    made.loop_read.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    made.loop_read.restype = ctypes.c_float

    def run(count_: int) -> None:
        made.loop_read(pointer(data), count, count_)

    return Job(run, 0.0, {"weights_bytes": 4 * count}, data)


def onnx(m: int, size: int) -> Job:
    """One op with its weights as a constant, everything bound beforehand. Rows are u8, which it multiplies faster by i8 (measured)."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    x, w = operands(m, size, "int8")
    x = x.view(np.uint8)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "product",
        [info("x", TensorProto.UINT8, x.shape)], [info("y", TensorProto.INT32, (m, size))],
        [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    place, y = onnxruntime.OrtValue.ortvalue_from_numpy, np.zeros((m, size), np.int32)
    given, found, binding = place(x), place(y), session.io_binding()
    binding.bind_ortvalue_input("x", given)
    binding.bind_ortvalue_output("y", found)

    def run(count: int) -> None:
        for _ in range(count):
            session.run_with_iobinding(binding)

    run(1)
    return Job(run, error(found.numpy(), x, w), {"version": onnxruntime.__version__}, (x, y))


def run(bench: Bench) -> Result:
    result = Result("integers")
    for size in SIZES[: bench.pick(len(SIZES), 1)]:
        for kind, m in (("row", 1), ("square", size)):
            _one(bench, result, kind, m, size)
    _devices(bench, result)
    return result


def _one(bench: Bench, result: Result, kind: str, m: int, size: int) -> None:
    title = f"{kind} {size}"
    some = [Entry(how, ours, (m, size, how)) for how in (I8, PLAIN, F32)]
    some += [Entry(ONNX, onnx, (m, size), peer=True), Entry(FLOOR, floor, (size,))]
    with bench.status(title) as say:
        times = contest(some, bench.pick(ROUNDS, 1), batches=bench.pick(5, 1), say=say)
    _table(bench, f"{m} x {size} x {size}, one core", m * size * size, times)
    result.data[title] = [t.summary() for t in times.values()]
    for name in (F32, PLAIN, ONNX, *([FLOOR] if m == 1 else [])):
        if times[name].failure:
            continue
        found, bar = ratio(times[I8], times[name]), BARS.get((kind, name)) if size > 128 else None
        met = None if bar is None else found.median <= bar
        said = "" if bar is None else f"≤ {bar:.2g}"
        result.claim(f"{title}: {I8} / {name}", said, str(found), met)
    wrong = [n for n in (I8, PLAIN) if times[n].error]
    result.claim(f"{title}: sums are exact", "all", ", ".join(wrong) or "all", not wrong)


def _table(bench: Bench, title: str, macs: int, times: dict[str, Times]) -> None:
    rows = [
        (n, "absent", "", "", "")
        if t.failure
        else (
            n, number(1e6 * t.median), number(macs / t.median / 1e9), str(ratio(times[I8], t)), number(t.error)
        )
        for n, t in times.items()
    ]  # fmt: skip
    bench.table(title, ("", "µs", "10^9 products/s", "i8 in words / it", "error"), rows)


# --------------------------------------------------------------------------------------- devices


def _devices(bench: Bench, result: Result) -> None:
    """Instructions per product of a row by a square matrix, counted by the emulator."""
    from seiche.schedule.target import target

    tools = all(shutil.which(str(target(b).tables["qemu"]["command"])) for b in BOARDS)
    if not tools or importlib.util.find_spec("ziglang") is None:
        bench.console.print(
            "[bold red]Not counted on devices: qemu-system-* or ziglang is missing[/]"
        )
        return
    size, boards = bench.pick(128, 16), BOARDS[: bench.pick(len(BOARDS), 1)]
    found = {b: [_instructions(how, size, b) for how in (I8, PLAIN, F32)] for b in boards}
    rows = [(b, *(f"{x:.2f}" for x in some)) for b, some in found.items()]
    title = f"instructions per product, a row of {size}"
    bench.table(title, ("", I8, PLAIN, F32), rows)
    for board, (packed, _, real) in found.items():
        result.claim(f"{board}: instructions per product, i8 and f32", "", f"{packed:.2f}, {real:.2f}", None)  # fmt: skip
    result.data["instructions per product"] = found
    fixed_point.count(bench, result, boards)


def _instructions(how: str, size: int, board: str) -> float:
    import seiche as sc

    compiled, x, _ = program(1, size, how, "interp")
    ran = sc.emulate(compiled, np.stack([x] * 4), target=board)
    assert ran.agrees and ran.instructions is not None, str(ran.difference)
    return float(ran.instructions) / (size * size)
