"""Arguments of a program: trees of Python and numpy values, checked and turned into flat lists of carrier arrays.

numpy values must have the dtype of the input's carrier. Python numbers adopt the input's format where that is safe: a float
where it is real, an int where it is a value of the format, a bool where it is bool. What a small format rounds is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from seiche.errors import NOWHERE, Diagnostic, SeicheError, fail
from seiche.ir.core import Var
from seiche.ir.op import AnyArray
from seiche.ir.tree import Tree, TreeMismatch
from seiche.numbers.formats import Format, Type
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import round_nearest

Reader: TypeAlias = Callable[[Any], "AnyArray | None"]
REAL_MAX = 3.4e38
"""Every real format that is a carrier reaches as far."""


@dataclass(frozen=True)
class Signature:
    """The trees of a node's arguments (a dict by name) and results, and the Vars at their leaves, in order."""

    inputs: Tree
    outputs: Tree
    input_vars: tuple[Var, ...]
    output_vars: tuple[Var, ...]

    def __post_init__(self) -> None:
        assert self.inputs.kind is dict, "the arguments of a node are a dict"
        assert self.inputs.size == len(self.input_vars)
        assert self.outputs.size == len(self.output_vars)

    @cached_property
    def paths(self) -> list[str]:
        """How Python reaches each input: `params['w'][0]`."""
        pairs = zip(self.inputs.keys, self.inputs.children, strict=True)
        return [path for name, tree in pairs for path in tree.paths(name)]

    @cached_property
    def readers(self) -> tuple[Reader, ...]:
        """How each input is read, where every argument is one tensor whose carrier holds nothing else; else empty."""
        types = [v.type for v in self.input_vars]
        whole = len(types) == len(self.inputs.keys) and all(t.format.exact for t in types)
        return tuple(map(_reader, types)) if whole else ()


def one_tick(
    signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[AnyArray]:
    """The inputs of a step; raises SE903, all faults at once."""
    if not kwargs and args and len(args) == len(signature.readers):
        # What a loop over live inputs passes: values that fit as they are. It is worth more than a small step's time.
        found: list[AnyArray] = []
        for read, x in zip(signature.readers, args):
            taken = read(x)
            if taken is None:
                break
            found.append(taken)
        else:
            return found
    return _fitted(signature, _leaves(signature, args, kwargs), ())[0]


def whole_stream(
    signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[AnyArray], int]:
    """The inputs of a run, [ticks, ...], and the number of ticks; raises SE903."""
    if not signature.input_vars:
        ticks = kwargs.get("ticks")
        if args or set(kwargs) != {"ticks"} or not isinstance(ticks, int) or ticks < 0:
            raise _wrong("a node without inputs runs for `ticks=` a number of ticks")
        return [], ticks
    arrays, lengths = _fitted(signature, _leaves(signature, args, kwargs), (None,))
    if len(set(lengths)) > 1:
        given = ", ".join(f"`{p}` {n}" for p, n in zip(signature.paths, lengths, strict=True))
        raise _wrong("the inputs have different numbers of ticks", given)
    return arrays, lengths[0]


def _reader(type: Type) -> Reader:
    """Takes what is of an input's type as it is; None for all else, which `_fit` judges."""
    dtype, shape = np.dtype(type.format.dtype), type.shape

    def array(x: Any) -> AnyArray | None:
        plain = x.__class__ is np.ndarray and x.dtype == dtype and x.shape == shape
        return x if plain and x.flags.c_contiguous else None

    if shape:
        return array
    own, (python, low, high) = dtype.type, _numbers(type.format)

    def number(x: Any) -> AnyArray | None:
        kind = x.__class__
        fits = kind is own or (kind is python and low <= x <= high)
        return np.array(x, dtype) if fits else array(x)

    return number


def _numbers(format: Format) -> tuple[type, float, float]:
    """The Python numbers that are taken without a look at their digits: their class and their ends."""
    if format.kind == "bool":
        return bool, False, True
    if format.is_integer:
        info = np.iinfo(format.dtype)
        return int, info.min, info.max
    return float, -REAL_MAX, REAL_MAX


def _leaves(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The leaves of a call's arguments, by position or name."""
    names = signature.inputs.keys
    takes = f"it takes {', '.join(map(str, names)) or 'no inputs'}"
    if len(args) > len(names):
        raise _wrong(f"{len(args)} inputs were given", takes)
    given = dict(zip(names, args))
    for name, value in kwargs.items():
        if name not in names or name in given:
            raise _wrong(
                f"`{name}` was given {'twice' if name in given else 'and is no input'}", takes
            )
        given[name] = value
    missing = [f"`{n}`" for n in names if n not in given]
    if missing:
        raise _wrong(f"inputs not given: {', '.join(missing)}", takes)
    pairs = zip(names, signature.inputs.children, strict=True)
    try:
        return [leaf for name, tree in pairs for leaf in tree.leaves_of(given[name], str(name))]
    except TreeMismatch as error:
        raise _wrong(f"an input of another structure: {error}") from None


def _fitted(
    signature: Signature, leaves: list[Any], lead: tuple[None, ...]
) -> tuple[list[AnyArray], list[int]]:
    """Arrays of the inputs' types, with leading axes of any length; and the length of the first."""
    faults: list[Diagnostic] = []
    arrays: list[AnyArray] = []
    for path, var, leaf in zip(signature.paths, signature.input_vars, leaves, strict=True):
        try:
            arrays.append(_fit(path, var, leaf, lead))
        except SeicheError as error:
            faults += error.diagnostics
    if faults:
        raise SeicheError(faults)
    return arrays, [len(array) if lead else 0 for array in arrays]


def _fit(path: str, var: Var, value: Any, lead: tuple[None, ...]) -> AnyArray:
    """One input as a carrier array, contiguous."""
    type = var.type
    plain = not isinstance(value, np.ndarray | np.generic)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise _misfit(path, var, f"{value.__class__.__name__} ({error})", lead) from None

    def misfit() -> SeicheError:
        found = _python(value) if plain and not array.shape else f"{array.dtype}{list(array.shape)}"
        return _misfit(path, var, found, lead)

    if array.ndim != len(lead) + len(type.shape) or array.shape[len(lead) :] != type.shape:
        raise misfit()
    dtype = np.dtype(type.format.dtype)
    if array.dtype != dtype:
        if not (plain and _safe(array, type.format)) and array.size:
            raise misfit()
        with np.errstate(all="ignore"):
            array = array.astype(dtype)
    if not type.format.exact:
        with np.errstate(all="ignore"):
            array = np.asarray(round_nearest(NUMPY, array, type.format))
    return np.ascontiguousarray(array).reshape(array.shape)


def _safe(array: AnyArray, format: Format) -> bool:
    """Whether Python numbers may become values of a format."""
    if array.dtype.kind == "f":
        return format.is_float
    if array.dtype.kind not in "iu" or format.kind == "bool":
        return False
    if format.is_integer:
        info = np.iinfo(format.dtype)
        return bool((array >= info.min).all() and (array <= info.max).all())
    with np.errstate(all="ignore"):
        there = array.astype(format.dtype)
        if not format.exact:
            there = np.asarray(round_nearest(NUMPY, there, format))
    return bool((np.abs(array) <= 2**53).all() and (there.astype("float64") == array).all())


def _python(value: Any) -> str:
    return f"the Python {value.__class__.__name__} {value!r}"[:80]


def _misfit(path: str, var: Var, found: str, lead: tuple[None, ...]) -> SeicheError:
    type: Type = var.type
    shape = ", ".join([*("ticks" for _ in lead), *map(str, type.shape)])
    wanted = f"{np.dtype(type.format.dtype)}[{shape}]"
    hint = f"np.asarray(x, {type.format.dtype!r}) converts" if "Python" not in found else ""
    what = f"input `{path}` is {type}: {wanted} is needed, not {found}"
    return fail("SE903", what, var.loc, hint=hint)


def _wrong(what: str, *why: str) -> SeicheError:
    return fail("SE903", what, NOWHERE, *why)
