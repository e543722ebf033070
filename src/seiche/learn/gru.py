"""The gated recurrent unit."""

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
class GRU:
    """The gated recurrent unit (Cho et al. 2014, eqs. 5 to 8): `[*, inputs] -> [*, hidden]` per tick.

        r = sigmoid(x Wr + br + h Ur + cr)          z = sigmoid(x Wz + bz + h Uz + cz)
        n = tanh(x Wn + bn + r * (h Un + cn))       h' = (1 - z) * n + z * h

    With `reset_after` (the default) the reset gate follows the recurrent product, as in torch, in cuDNN and in Keras'
    default: one product per tick. Without, it precedes the product as in the paper: n = tanh(x Wn + bn + (r * h) Un + cn).
    Parameters `input [inputs, 3 hidden]`, `recurrent [hidden, 3 hidden]`, `bias`, `recurrent_bias [3 hidden]`; gates in the
    order r, z, n: torch's `weight_ih_l0.T`, `weight_hh_l0.T`, `bias_ih_l0`, `bias_hh_l0`.

    >>> import seiche as sc
    >>> gru = sc.learn.GRU(2, 3)
    >>> @sc.node
    ... def model(x: sc.f32[2]) -> sc.f32[3]:
    ...     return gru(gru.init(key=0), x)
    >>> sc.compile(model).run([[0.0, 0.0], [1.0, 0.0]]).shape
    (2, 3)
    """

    inputs: int
    hidden: int
    reset_after: bool = True
    input: Initialiser = initialise.glorot_uniform
    recurrent: Initialiser = initialise.orthogonal_blocks
    format: Format = f32

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        first, second = Key.of(key).split()
        bias = initialise.zeros(key, (3 * self.hidden,), self.format)
        return {
            "input": self.input(first, (self.inputs, 3 * self.hidden), self.format),
            "recurrent": self.recurrent(second, (self.hidden, 3 * self.hidden), self.format),
            "bias": bias,
            "recurrent_bias": bias.copy(),
        }

    def step(self, params: Params, h: Stream, x: Stream) -> Stream:
        """The next hidden value, without memory."""
        n = self.hidden
        given = f.matmul(x, params["input"]) + params["bias"]
        if self.reset_after:
            carried = f.matmul(h, params["recurrent"]) + params["recurrent_bias"]
            gates = f.sigmoid(given[..., : 2 * n] + carried[..., : 2 * n])
            candidate = f.tanh(given[..., 2 * n :] + gates[..., :n] * carried[..., 2 * n :])
        else:
            weight, bias = params["recurrent"], params["recurrent_bias"]
            gates = f.sigmoid(
                given[..., : 2 * n] + (f.matmul(h, weight[:, : 2 * n]) + bias[: 2 * n])
            )
            carried = f.matmul(gates[..., :n] * h, weight[:, 2 * n :]) + bias[2 * n :]
            candidate = f.tanh(given[..., 2 * n :] + carried)
        z = gates[..., n:]
        return (1 - z) * candidate + z * h

    def __call__(
        self,
        params: Params,
        x: Stream,
        *,
        initial: Stream | None = None,
        reset: Stream | None = None,
    ) -> Stream:
        """The hidden value after x; it starts from `initial` (zeros) where a segment opens."""
        with trace.instance("gru", reset):
            h = state(
                f.zeros((*x.shape[:-1], self.hidden), x.format) if initial is None else initial
            )
            h.next = self.step(params, h, x)
            return h.next
