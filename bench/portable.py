"""Workloads as graphs of forward ops, written once for the runtimes that load a model: ONNX here, LiteRT in `lite.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """A value of a graph, f32."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Portable:
    """A step: names of its inputs, the next value of each state by its name, the output, what the states start from (or zero)."""

    inputs: tuple[str, ...]
    after: dict[str, Node]
    output: Node
    start: dict[str, Array] = field(default_factory=dict[str, Array])


class Graph(Protocol):
    """The ops that workloads need."""

    def input(self, name: str, shape: Shape) -> Node: ...
    def constant(self, value: Array) -> Node: ...
    def reshape(self, x: Node, shape: Shape) -> Node: ...
    def concat(self, xs: list[Node], axis: int) -> Node: ...
    def slice(self, x: Node, axis: int, start: int, stop: int) -> Node: ...
    def add(self, a: Node, b: Node) -> Node: ...
    def sub(self, a: Node, b: Node) -> Node: ...
    def mul(self, a: Node, b: Node) -> Node: ...
    def relu(self, x: Node) -> Node: ...
    def sigmoid(self, x: Node) -> Node: ...
    def tanh(self, x: Node) -> Node: ...
    def log(self, x: Node) -> Node: ...
    def softmax(self, x: Node) -> Node: ...
    def step(self, x: Node) -> Node:
        """1 where x > 0, else 0."""
        ...

    def sum(self, x: Node, axis: int) -> Node: ...
    def matmul(self, a: Node, b: Node, trans_b: bool = False) -> Node: ...
    def affine(self, x: Node, w: Node, b: Node) -> Node:
        """x w + b."""
        ...

    def descend(self, w: Node, a: Node, b: Node) -> Node:
        """w - a^T b."""
        ...

    def dense(self, x: Node, w: Array, b: Array) -> Node:
        """x w + b with constants, w `[in, out]`."""
        ...

    def depthwise(self, x: Node, w: Array, b: Array) -> Node:
        """`[1, k, channels]` by w `[k, channels]`: the sum over k, plus b: `[1, channels]`."""
        ...


def joined(a: Shape, b: Shape) -> Shape:
    """The shape of a result with broadcasting."""
    return tuple(np.broadcast_shapes(a, b))


def cut(shape: Shape, axis: int, start: int, stop: int) -> Shape:
    return (*shape[:axis], stop - start, *shape[axis + 1 :])


def stacked(xs: list[Node], axis: int) -> Shape:
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return tuple(shape)


def product(a: Shape, b: Shape, trans_b: bool) -> Shape:
    return (a[0], b[0] if trans_b else b[1])


class OnnxGraph:
    """A `Graph` that becomes a model of ONNX."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Node] = []

    def model(self, p: Portable) -> bytes:
        """The model: inputs and states in, `<state>_next` and `output` out."""
        from onnx import TensorProto, helper

        def info(name: str, shape: Shape) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        results = {**{f"{name}_next": node for name, node in p.after.items()}, "output": p.output}
        for name, node in results.items():
            self.nodes.append(helper.make_node("Identity", [node.name], [name]))
        graph = helper.make_graph(
            self.nodes, "step", [info(n.name, n.shape) for n in self.inputs],
            [info(name, node.shape) for name, node in results.items()], self.constants,
        )  # fmt: skip
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return bytes(made.SerializeToString())

    def _op(self, kind: str, shape: Shape, *args: Node, **attributes: Any) -> Node:
        from onnx import helper

        out = Node(f"v{len(self.nodes)}", shape)
        names = [a.name for a in args]
        self.nodes.append(helper.make_node(kind, names, [out.name], **attributes))
        return out

    def input(self, name: str, shape: Shape) -> Node:
        self.inputs.append(Node(name, shape))
        return self.inputs[-1]

    def constant(self, value: Array) -> Node:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return Node(name, value.shape)

    def _integers(self, *values: int) -> Node:
        return self.constant(np.array(values, np.int64))

    def reshape(self, x: Node, shape: Shape) -> Node:
        return self._op("Reshape", shape, x, self._integers(*shape))

    def concat(self, xs: list[Node], axis: int) -> Node:
        return self._op("Concat", stacked(xs, axis), *xs, axis=axis)

    def slice(self, x: Node, axis: int, start: int, stop: int) -> Node:
        ends = (self._integers(v) for v in (start, stop, axis))
        return self._op("Slice", cut(x.shape, axis, start, stop), x, *ends)

    def add(self, a: Node, b: Node) -> Node:
        return self._op("Add", joined(a.shape, b.shape), a, b)

    def sub(self, a: Node, b: Node) -> Node:
        return self._op("Sub", joined(a.shape, b.shape), a, b)

    def mul(self, a: Node, b: Node) -> Node:
        return self._op("Mul", joined(a.shape, b.shape), a, b)

    def relu(self, x: Node) -> Node:
        return self._op("Relu", x.shape, x)

    def sigmoid(self, x: Node) -> Node:
        return self._op("Sigmoid", x.shape, x)

    def tanh(self, x: Node) -> Node:
        return self._op("Tanh", x.shape, x)

    def log(self, x: Node) -> Node:
        return self._op("Log", x.shape, x)

    def softmax(self, x: Node) -> Node:
        return self._op("Softmax", x.shape, x, axis=-1)

    def step(self, x: Node) -> Node:
        positive = self._op("Greater", x.shape, x, self.constant(np.zeros(1, np.float32)))
        return self._op("Cast", x.shape, positive, to=1)

    def sum(self, x: Node, axis: int) -> Node:
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        return self._op("ReduceSum", shape, x, self._integers(axis), keepdims=0)

    def matmul(self, a: Node, b: Node, trans_b: bool = False) -> Node:
        return self._op("Gemm", product(a.shape, b.shape, trans_b), a, b, transB=int(trans_b))

    def affine(self, x: Node, w: Node, b: Node) -> Node:
        return self._op("Gemm", product(x.shape, w.shape, False), x, w, b)

    def descend(self, w: Node, a: Node, b: Node) -> Node:
        """One op, without a gradient in memory: 2.3 times as fast as a product and a difference (measured, one row)."""
        return self._op("Gemm", w.shape, a, b, w, transA=1, alpha=-1.0, beta=1.0)

    def dense(self, x: Node, w: Array, b: Array) -> Node:
        return self._op("Gemm", (x.shape[0], w.shape[1]), x, self.constant(w), self.constant(b))

    def depthwise(self, x: Node, w: Array, b: Array) -> Node:
        """A product and a sum: `Conv` wants channels before time, and is slower (measured)."""
        return self.add(self.sum(self.mul(x, self.constant(w)), 1), self.constant(b))
