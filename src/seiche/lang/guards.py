"""What a stream is not: a value. Python and numpy ask for one in many ways; each answer names the line and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

from seiche.errors import fail
from seiche.lang.names import here

if TYPE_CHECKING:
    from seiche.ir.core import Var

_OPERATORS = {
    "add": ("__add__", "__radd__"),
    "subtract": ("__sub__", "__rsub__"),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "floor_divide": ("__floordiv__", "__rfloordiv__"),
    "remainder": ("__mod__", "__rmod__"),
    "power": ("__pow__", "__rpow__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "bitwise_and": ("__and__", "__rand__"),
    "bitwise_or": ("__or__", "__ror__"),
    "bitwise_xor": ("__xor__", "__rxor__"),
    "left_shift": ("__lshift__", "__rlshift__"),
    "right_shift": ("__rshift__", "__rrshift__"),
    "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"),
    "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
    "equal": ("__eq__", "__eq__"),
    "not_equal": ("__ne__", "__ne__"),
}
"""The operators by which a numpy array meets a stream, and their methods with the stream on the left and on the right."""


class Guarded:
    """The base of streams: the conversions, tests and changes that would need a value."""

    __slots__ = ()
    var: Var

    def __bool__(self) -> NoReturn:
        raise fail(
            "SE101", f"the truth of `{self.var.name}` is not known while tracing: it is a stream", here(),
            (f"`{self.var.name}` is {self.var.type}", self.var.loc),
            hint="choose with sc.where(c, a, b); join clocks with sc.merge(c, a, b); activate with `with sc.every(c):`; "
            "use & | ~ for logic; change modes with sc.automaton()",
        )  # fmt: skip

    def _static(self, *_: Any, **__: Any) -> NoReturn:
        raise fail(
            "SE110", f"`{self.var.name}` has no value while tracing: it is a stream", here(),
            (f"`{self.var.name}` is {self.var.type}", self.var.loc),
            hint="use the functions of seiche in place of numpy's and math's; shapes, axes and loop counts are Python numbers",
        )  # fmt: skip

    __float__ = __int__ = __index__ = __complex__ = __array__ = _static

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> Any:
        """The operators with a numpy array work; numpy's functions do not."""
        name: str = ufunc.__name__
        if method != "__call__" or name not in _OPERATORS:
            raise self._numpy(name)
        left, right = inputs
        direct, reflected = _OPERATORS[name]
        return (
            getattr(left, direct)(right)
            if isinstance(left, Guarded)
            else getattr(right, reflected)(left)
        )

    def __array_function__(
        self, function: Any, types: Sequence[type], args: Any, kwargs: Any
    ) -> NoReturn:
        raise self._numpy(function.__name__)

    def _numpy(self, name: str) -> Exception:
        return fail(
            "SE110", f"numpy's `{name}` of `{self.var.name}`, which has no value while tracing: it is a stream", here(),
            (f"`{self.var.name}` is {self.var.type}", self.var.loc),
            hint=f"write sc.{name}" if name in _functions() else "use the functions of seiche in place of numpy's",
        )  # fmt: skip

    def __delitem__(self, key: Any) -> NoReturn:
        raise fail(
            "SE104", f"`del {self.var.name}[...]` would change a stream in place", here(),
            ("streams are values", self.var.loc), hint="name the rows that stay: x[1:], sc.concatenate([x[:3], x[4:]])",
        )  # fmt: skip

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise fail(
            "SE104", f"`{self.var.name}[...] = ...` would change a stream in place", here(),
            ("streams are values", self.var.loc),
            hint=f"write `{self.var.name} = {self.var.name}.at[...].set(value)`",
        )  # fmt: skip

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("next", "prev") and not hasattr(type(self), name):
            kind = "state" if name == "next" else "costate"
            raise fail(
                "SE104", f"`{self.var.name}` is no {kind}: it has no equation of its own for .{name}", here(),
                ("it was made here", self.var.loc), hint=f"make it with sc.{kind}(...), and keep that name for it",
            )  # fmt: skip
        object.__setattr__(self, name, value)

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """A stream is what it is by identity: a copy of a tree of streams is over the same streams."""
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._static()


def _functions() -> list[str]:
    from seiche.lang import functions

    return functions.__all__
