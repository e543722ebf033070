"""A compiled step as a function of Python's own kind, so that a call costs what one of `len` does, not what ctypes takes for a call.

The library holds `X_call(capsule, unused)`, a method without arguments as CPython's stable interface has them (METH_NOARGS): the
capsule holds the addresses of an instance, its inputs and its outputs. Functions of CPython that it needs are handed to it by their
addresses, so that neither `Python.h` nor a link with Python is needed. Like ctypes it gives up the interpreter lock during the step.
Elsewhere than on CPython ctypes calls the step.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import partial

METH_NOARGS = 0x4
NATIVE = sys.implementation.name == "cpython"
"""Whether this Python has that interface."""

# The text of a library's share; printed into `X_host.c`.
TEXT = """\

/* A step as a method of Python: the capsule holds what it is called with. Functions of Python come by their addresses. */
struct {name}_python {{
    void *(*pointer)(void *, const char *);
    void *(*save)(void);
    void (*restore)(void *);
    void *(*integer)(long);
}};
struct {name}_given {{
    struct {name} *self;
    const struct {name}_in *in;
    struct {name}_out *out;
}};
extern struct {name}_python {name}_python;
struct {name}_python {name}_python;
void *{name}_call(void *capsule, void *unused);
void *{name}_call(void *capsule, void *unused)
{{
    const struct {name}_given *const given = {name}_python.pointer(capsule, NULL);
    void *const thread = {name}_python.save();
    const int32_t failed = {name}_step(given->self, given->in, given->out);
    (void)unused;
    {name}_python.restore(thread);
    return {name}_python.integer((long)failed);
}}
"""


class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


Given = ctypes.c_void_p * 3
Python = ctypes.c_void_p * 4
NEEDED = ("PyCapsule_GetPointer", "PyEval_SaveThread", "PyEval_RestoreThread", "PyLong_FromLong")


def prepare(dll: ctypes.CDLL, name: str) -> None:
    """Hands a library the functions of Python."""
    if NATIVE:
        python = Python.in_dll(dll, f"{name}_python")
        for k, function in enumerate(NEEDED):
            python[k] = ctypes.cast(ctypes.pythonapi[function], ctypes.c_void_p).value


def bound(
    dll: ctypes.CDLL,
    name: str,
    step: Callable[..., int],
    addresses: tuple[int, int, int],
    keep: object,
) -> Callable[[], int]:
    """A function that steps on the memories at these addresses (of the instance, its inputs, its outputs), and returns 0 or the number
    of the check that failed. It keeps `keep` alive.
    """
    if not NATIVE:
        tick = partial(step, *map(ctypes.c_void_p, addresses))
        vars(tick)["keep"] = keep
        return tick
    given = Given(*addresses)
    address = ctypes.cast(dll[f"{name}_call"], ctypes.c_void_p).value
    method = _Method(b"tick", address, METH_NOARGS, b"One tick.")
    new, made = ctypes.py_object, ctypes.c_void_p
    capsule = ctypes.PYFUNCTYPE(new, made, made, made)(("PyCapsule_New", ctypes.pythonapi))
    function = ctypes.PYFUNCTYPE(new, made, new, new)(("PyCFunction_NewEx", ctypes.pythonapi))
    # What a function takes for its module is any object that it shall hold.
    held = (given, method, dll, keep)
    return function(ctypes.addressof(method), capsule(ctypes.addressof(given), None, None), held)
