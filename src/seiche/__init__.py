"""Seiche: a reactive language embedded in Python, for systems that learn where they run.

The whole public surface, loaded when first used (PEP 562), so that `import seiche` is light.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_FORMATS = "f64 f32 f16 bf16 e4m3 e5m2 bool_ i8 i16 i32 i64 u8 u16 u32 u64 float_ fixed Format Type"
_FUNCTIONS = """
exp expm1 log log1p sqrt square sin cos tan asin acos atan sinh cosh tanh erf erfc sigmoid softplus floor ceil trunc sign
isnan isfinite stop_gradient absolute round relu silu gelu maximum minimum power atan2 clip where convert bitcast reshape
transpose swapaxes moveaxis expand_dims squeeze flatten concatenate stack split pad flip roll repeat zeros ones zeros_like
arange eye sum prod mean variance std max min any all argmax argmin cumsum cumprod cummax logsumexp softmax log_softmax norm
matmul dot outer einsum conv cholesky solve triangular_solve inv take take_along scatter_add one_hot sort argsort top_k
round_stochastic
"""

_SURFACE: dict[str, str] = {
    **{name: "seiche.numbers.formats" for name in _FORMATS.split()},
    **{name: "seiche.lang.functions" for name in _FUNCTIONS.split()},
    **{name: "seiche.lang.node" for name in ("node",)},
    **{name: "seiche.lang.stream" for name in ("Stream", "constant", "broadcast_to")},
    **{
        name: "seiche.lang.memory"
        for name in [
            "state",
            "costate",
            "fby",
            "post",
            "pre",
            "arrow",
            "first",
            "last",
            "var",
            "hold",
        ]
    },
    **{name: "seiche.lang.clocks" for name in ["when", "merge", "every", "activate"]},
    **{name: "seiche.lang.frames" for name in ["frame", "over_time", "gather"]},
    **{name: "seiche.lang.iterators" for name in ["over_space", "to_space", "scatter", "window"]},
    "to_time": "seiche.lang.folding",
    "pipeline": "seiche.lang.pipelining",
    **{name: "seiche.ir.tiling" for name in ("tile", "Loops")},
    "fold_report": "seiche.backends.folding",
    **{name: "seiche.lang.automata" for name in ("automaton",)},
    **{name: "seiche.lang.contracts" for name in ("assume", "guarantee")},
    **{name: "seiche.lang.indexing" for name in ("update", "dynamic_slice")},
    **{name: "seiche.lang.grad" for name in ["grad", "value_and_grad", "vjp", "jvp", "custom_vjp"]},
    **{name: "seiche.backends.compile" for name in ("compile", "diagnose")},
    "record": "seiche.backends.recording",
    "falsify": "seiche.backends.falsify.search",
    "deploy": "seiche.backends.deploy.folder",
    "emulate": "seiche.backends.deploy.compare",
    **{name: "seiche.backends.deploy.weights" for name in ("save_weights", "load_weights")},
    **{name: "seiche.errors" for name in ("SeicheError", "Diagnostic")},
    "Key": "seiche.numbers.random",
    "map_tree": "seiche.ir.tree",
}
_MODULES = {
    "random": "seiche.lang.random",
    "learn": "seiche.learn",
    "signals": "seiche.backends.falsify.signals",
}

__all__ = [*_SURFACE, *_MODULES]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _SURFACE:
        value = getattr(importlib.import_module(_SURFACE[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'seiche' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
