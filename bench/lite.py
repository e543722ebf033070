"""Workloads as models of LiteRT: the file is written with the schema that comes with it, so that no converter is needed.

Parameters that are trained live in resource variables, which a second subgraph sets once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.portable import Array, Node, Portable, Shape, cut, joined, product, stacked

RESOURCE = 13
"""The type of a handle."""


class Subgraph:
    """Tensors and operators, by index."""

    def __init__(self, of: LiteGraph) -> None:
        self.of = of
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.at: dict[str, int] = {}

    def tensor(self, name: str, shape: Shape, type: int = 0, value: Array | None = None) -> int:
        t = self.of.schema.TensorT()
        t.name, t.shape, t.type, t.shapeSignature = name.encode(), list(shape), type, None
        t.buffer = 0 if value is None else self.of.buffer(value)
        self.at[name] = len(self.tensors)
        self.tensors.append(t)
        return self.at[name]

    def operate(
        self, kind: str, inputs: list[int], outputs: list[int], options: Any = None
    ) -> None:
        o = self.of.schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = self.of.code(kind), inputs, outputs
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            o.builtinOptionsType = getattr(self.of.schema.BuiltinOptions, name)
            o.builtinOptions = options
        self.operators.append(o)

    def made(self, inputs: list[int], outputs: list[int]) -> Any:
        g = self.of.schema.SubGraphT()
        g.tensors, g.operators, g.inputs, g.outputs = self.tensors, self.operators, inputs, outputs
        return g


class LiteGraph:
    """A `Graph` that becomes a flatbuffer. `variables`: states that live in the runtime, by their first values."""

    def __init__(self, variables: dict[str, Array] | None = None) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.buffers: list[Any] = [schema.BufferT()]
        self.codes: dict[str, int] = {}
        self.variables = variables or {}
        self.main = Subgraph(self)
        self.inputs: list[Node] = []
        self.handles: dict[str, int] = {}
        if self.variables:
            options = schema.CallOnceOptionsT()
            options.initSubgraphIndex = 1
            self.main.operate("CALL_ONCE", [], [], options)

    # The file.

    def buffer(self, value: Array) -> int:
        b = self.schema.BufferT()
        b.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self.buffers.append(b)
        return len(self.buffers) - 1

    def code(self, kind: str) -> int:
        return self.codes.setdefault(kind, len(self.codes))

    def _code(self, kind: str) -> Any:
        c = self.schema.OperatorCodeT()
        number = getattr(self.schema.BuiltinOperator, kind)
        c.builtinCode, c.deprecatedBuiltinCode, c.version = number, min(number, 127), 1
        return c

    def model(self, p: Portable) -> bytes:
        """The model: the inputs and those states that are no variables in, their next values and the output out."""
        import flatbuffers

        outputs = [p.output]
        for name, node in p.after.items():
            if name in self.variables:
                self.main.operate(
                    "ASSIGN_VARIABLE", [self.handles[name], self.main.at[node.name]], []
                )
            else:
                outputs.append(node)
        at = self.main.at
        graphs = [self.main.made([at[n.name] for n in self.inputs], [at[n.name] for n in outputs])]
        if self.variables:
            graphs.append(self._first())
        m = self.schema.ModelT()
        m.version, m.subgraphs, m.buffers = 3, graphs, self.buffers
        m.operatorCodes = [self._code(kind) for kind in self.codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(m.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _first(self) -> Any:
        """The subgraph that sets the variables."""
        g = Subgraph(self)
        for name, value in self.variables.items():
            handle = self._handle(g, name)
            g.operate(
                "ASSIGN_VARIABLE", [handle, g.tensor(f"{name}_start", value.shape, 0, value)], []
            )
        return g.made([], [])

    def _handle(self, g: Subgraph, name: str) -> int:
        options = self.schema.VarHandleOptionsT()
        options.container, options.sharedName = b"", name.encode()
        handle = g.tensor(f"{name}_handle", (), RESOURCE)
        g.operate("VAR_HANDLE", [], [handle], options)
        return handle

    # The ops.

    def _op(self, kind: str, shape: Shape, *args: Node, options: Any = None, type: int = 0) -> Node:
        out = Node(f"v{len(self.main.tensors)}", shape)
        inputs = [self.main.at[a.name] for a in args]
        self.main.operate(kind, inputs, [self.main.tensor(out.name, shape, type)], options)
        return out

    def _options(self, name: str, **fields: Any) -> Any:
        options = getattr(self.schema, f"{name}OptionsT")()
        for field, value in fields.items():
            setattr(options, field, value)
        return options

    def input(self, name: str, shape: Shape) -> Node:
        if name in self.variables:
            self.handles[name] = self._handle(self.main, name)
            out = Node(name, shape)
            at = self.main.tensor(name, shape)
            self.main.operate("READ_VARIABLE", [self.handles[name]], [at])
            return out
        self.inputs.append(Node(name, shape))
        self.main.tensor(name, shape)
        return self.inputs[-1]

    def constant(self, value: Array) -> Node:
        node = Node(f"c{len(self.main.tensors)}", value.shape)
        self.main.tensor(node.name, value.shape, 2 if value.dtype == np.int32 else 0, value)
        return node

    def _integers(self, *values: int) -> Node:
        return self.constant(np.array(values, np.int32))

    def reshape(self, x: Node, shape: Shape) -> Node:
        options = self._options("Reshape", newShape=list(shape))
        return self._op("RESHAPE", shape, x, self._integers(*shape), options=options)

    def concat(self, xs: list[Node], axis: int) -> Node:
        return self._op(
            "CONCATENATION",
            stacked(xs, axis),
            *xs,
            options=self._options("Concatenation", axis=axis),
        )

    def slice(self, x: Node, axis: int, start: int, stop: int) -> Node:
        shape = cut(x.shape, axis, start, stop)
        begin = self._integers(*(start if k == axis else 0 for k in range(len(shape))))
        return self._op(
            "SLICE", shape, x, begin, self._integers(*shape), options=self._options("Slice")
        )

    def add(self, a: Node, b: Node) -> Node:
        return self._op("ADD", joined(a.shape, b.shape), a, b, options=self._options("Add"))

    def sub(self, a: Node, b: Node) -> Node:
        return self._op("SUB", joined(a.shape, b.shape), a, b, options=self._options("Sub"))

    def mul(self, a: Node, b: Node) -> Node:
        return self._op("MUL", joined(a.shape, b.shape), a, b, options=self._options("Mul"))

    def relu(self, x: Node) -> Node:
        return self._op("RELU", x.shape, x)

    def sigmoid(self, x: Node) -> Node:
        return self._op("LOGISTIC", x.shape, x)

    def tanh(self, x: Node) -> Node:
        return self._op("TANH", x.shape, x)

    def log(self, x: Node) -> Node:
        return self._op("LOG", x.shape, x)

    def softmax(self, x: Node) -> Node:
        return self._op("SOFTMAX", x.shape, x, options=self._options("Softmax", beta=1.0))

    def step(self, x: Node) -> Node:
        """SIGN of what a rectifier left: CAST of a comparison has no kernel in XNNPACK either."""
        return self._op("SIGN", x.shape, x)

    def sum(self, x: Node, axis: int) -> Node:
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        options = self._options("Reducer", keepDims=False)
        return self._op("SUM", shape, x, self._integers(axis), options=options)

    def matmul(self, a: Node, b: Node, trans_b: bool = False) -> Node:
        options = self._options("BatchMatMul", adjX=False, adjY=trans_b)
        return self._op("BATCH_MATMUL", product(a.shape, b.shape, trans_b), a, b, options=options)

    def affine(self, x: Node, w: Node, b: Node) -> Node:
        return self.add(self.matmul(x, w), b)

    def descend(self, w: Node, a: Node, b: Node) -> Node:
        """For one row, a product with broadcasting, which is faster."""
        if a.shape[0] == 1:
            return self.sub(w, self.mul(self.reshape(a, (a.shape[1], 1)), b))
        options = self._options("BatchMatMul", adjX=True, adjY=False)
        return self.sub(w, self._op("BATCH_MATMUL", w.shape, a, b, options=options))

    def dense(self, x: Node, w: Array, b: Array) -> Node:
        options = self._options("FullyConnected")
        weights, bias = self.constant(w.T), self.constant(b)
        return self._op(
            "FULLY_CONNECTED", (x.shape[0], w.shape[1]), x, weights, bias, options=options
        )

    def depthwise(self, x: Node, w: Array, b: Array) -> Node:
        k, channels = w.shape
        options = self._options(
            "DepthwiseConv2D", padding=1, strideW=1, strideH=1, depthMultiplier=1
        )
        image = self.reshape(x, (1, k, 1, channels))
        weights, bias = self.constant(w.reshape(1, k, 1, channels)), self.constant(b)
        out = self._op(
            "DEPTHWISE_CONV_2D", (1, 1, 1, channels), image, weights, bias, options=options
        )
        return self.reshape(out, (1, channels))
