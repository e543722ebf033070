"""The long short-term memory."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.memory import state
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.initialise import Initialiser
from seiche.learn.layer import Params, Seed
from seiche.numbers.formats import Format, f32
from seiche.numbers.random import Key


@dataclass(frozen=True)
class LSTM:
    """Long short-term memory with a forget gate (Gers, Schmidhuber & Cummins 2000): `[*, inputs] -> [*, hidden]` per tick.

        i, f, o = sigmoid(x W + h U + b)    g = tanh(x Wg + h Ug + bg)    c' = f * c + i * g    h' = o * tanh(c')

    Parameters `input [inputs, 4 hidden]`, `recurrent [hidden, 4 hidden]`, `bias [4 hidden]`; gates in the order i, f, g, o as
    in torch (transposed; its two biases added) and in Keras. The forget gate's bias starts at `forget` (Jozefowicz et al. 2015).

    >>> import seiche as sc
    >>> lstm = sc.learn.LSTM(2, 3)
    >>> @sc.node
    ... def model(x: sc.f32[2]) -> sc.f32[3]:
    ...     return lstm(lstm.init(key=0), x)
    >>> sc.compile(model).run([[0.0, 0.0], [1.0, 0.0]]).shape
    (2, 3)
    """

    inputs: int
    hidden: int
    forget: float = 1.0
    input: Initialiser = initialise.glorot_uniform
    recurrent: Initialiser = initialise.orthogonal_blocks
    format: Format = f32

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        first, second = Key.of(key).split()
        bias = initialise.zeros(key, (4 * self.hidden,), self.format)
        bias[self.hidden : 2 * self.hidden] = self.forget
        return {
            "input": self.input(first, (self.inputs, 4 * self.hidden), self.format),
            "recurrent": self.recurrent(second, (self.hidden, 4 * self.hidden), self.format),
            "bias": bias,
        }

    def step(
        self, params: Params, memory: tuple[Stream, Stream], x: Stream
    ) -> tuple[Stream, Stream]:
        """The next `(h, c)`, without memory."""
        h, c = memory
        n = self.hidden
        gates = f.matmul(x, params["input"]) + f.matmul(h, params["recurrent"]) + params["bias"]
        both = f.sigmoid(gates[..., : 2 * n])
        cell = both[..., n:] * c + both[..., :n] * f.tanh(gates[..., 2 * n : 3 * n])
        return f.sigmoid(gates[..., 3 * n :]) * f.tanh(cell), cell

    def __call__(
        self,
        params: Params,
        x: Stream,
        *,
        initial: tuple[Stream, Stream] | None = None,
        reset: Stream | None = None,
    ) -> Stream:
        """The hidden value after x; `(h, c)` starts from `initial` (zeros) where a segment opens."""
        with trace.instance("lstm", reset):
            zero = f.zeros((*x.shape[:-1], self.hidden), x.format)
            memory = state((zero, zero) if initial is None else tuple(initial))
            memory.next = self.step(params, (memory[0], memory[1]), x)
            return memory.next[0]
