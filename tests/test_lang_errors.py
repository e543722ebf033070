"""What a stream is not, what tracing must not do, and that all errors of a node come together, each at the user's line."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import random
import sys

import numpy as np
import pytest

import seiche as sc
from tests.lang import bits, compiled, diagnostics, only, reals, run

X = {"x": sc.f32, "v": sc.f32[3], "i": sc.i32}


def branch(x):
    if x > 0:
        return x
    return -x


def loop(x):
    while x < 3:
        x = x + 1
    return x


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, v, i: branch(x), lambda x, v, i: loop(x), lambda x, v, i: x and i, lambda x, v, i: x or i, lambda x, v, i: not x,
        lambda x, v, i: 0 < x < 1, lambda x, v, i: x in [x + 1, 2.0], lambda x, v, i: 2.0 in v, lambda x, v, i: max(x, 0.0),
        lambda x, v, i: bool(x), lambda x, v, i: all([x > 0, x > 1]), lambda x, v, i: sorted([x, x]), lambda x, v, i: [1.0, 2.0].index(x),
        lambda x, v, i: x if x == 0 else v, lambda x, v, i: bool(v), lambda x, v, i: bool(sc.state(0.0)),
    ],
)  # fmt: skip
def test_the_truth_of_a_stream(wrong):
    error = only(wrong, "SE101", **X)
    assert error.where.file == __file__
    assert "sc.where(c, a, b)" in error.hint and "`with sc.every(c):`" in error.hint


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, v, i: float(x), lambda x, v, i: int(i), lambda x, v, i: complex(x), lambda x, v, i: math.sin(x),
        lambda x, v, i: range(i), lambda x, v, i: [1, 2, 3][i], lambda x, v, i: np.asarray(v),
        lambda x, v, i: np.array([x, x]), lambda x, v, i: np.sin(x), lambda x, v, i: np.maximum(x, 0), lambda x, v, i: np.sum(v),
        lambda x, v, i: np.concatenate([v, v]), lambda x, v, i: np.where(x > 0, x, 0), lambda x, v, i: np.add.reduce(v),
        lambda x, v, i: np.zeros(3)[i], lambda x, v, i: np.zeros(i), lambda x, v, i: np.reshape(v, (3, 1)), lambda x, v, i: np.dot(v, v),
        lambda x, v, i: np.isnan(x), lambda x, v, i: math.floor(x), lambda x, v, i: pickle.dumps(x), lambda x, v, i: np.mean(v),
        lambda x, v, i: np.stack([v, v]), lambda x, v, i: np.float32(x), lambda x, v, i: hex(i), lambda x, v, i: np.linalg.norm(v),
    ],
)  # fmt: skip
def test_a_value_is_needed(wrong):
    error = only(wrong, "SE110", **X)
    assert error.where.file == __file__ and "stream" in error.what


def test_numpys_functions_are_answered_with_ours():
    assert only(lambda x: np.sin(x), "SE110", x=sc.f32).hint == "write sc.sin"
    assert (
        only(lambda x: np.concatenate([x, x]), "SE110", x=sc.f32[2]).hint == "write sc.concatenate"
    )
    assert "in place of numpy's" in only(lambda x: np.fft.fft(x), "SE110", x=sc.f32[2]).hint


def test_nothing_changes_in_place():
    def items(v):
        v[0] = 1.0
        return v

    def attribute(v):
        w = v + 1
        w.next = v
        return w

    def deleted(v):
        del v[0]
        return v

    assert "v = v.at[...].set(value)" in only(items, "SE104", v=sc.f32[3]).hint
    error = only(attribute, "SE104", v=sc.f32[3])
    assert (
        error.what == "`w` is no state: it has no equation of its own for .next"
        and "sc.state" in error.hint
    )
    assert "`del v[...]`" in only(deleted, "SE104", v=sc.f32[3]).what
    assert diagnostics(lambda x: wrong_attribute(x), x=sc.f32) == ()


def wrong_attribute(x):
    with pytest.raises(AttributeError, match="has no attribute 'values'"):
        _ = x.values
    with pytest.raises(AttributeError):
        x.values = 3
    return x


def test_an_augmented_assignment_is_a_new_stream():
    def f(x):
        y = x
        y += 1
        y *= 2
        return x, y

    x = reals(1, 3)
    same, y = run(f, x, x=sc.f32)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_allclose(y, (x + 1) * 2, rtol=1e-6)


def test_what_is_harmless():
    def f(x, v):
        text = f"{x} {v!r} {x:.3f} {x!s}"
        assert "<stream x: f32>" in text
        tree = copy.deepcopy({"x": x, "v": [v]})
        assert tree["x"] is x and copy.copy(v) is v
        assert (
            len(v) == 3 and v.shape == (3,) and v.size == 3 and v.ndim == 1 and x.type == sc.f32[()]
        )
        assert {x: 1}[x] == 1 and x in {x} and isinstance(hash(v), int)
        first, *rest = v
        assert len(rest) == 2
        return first + sum(rest), tree["x"], list(itertools.accumulate(v))[-1]

    run(f, reals(1, 2), reals(2, 2, 3), x=sc.f32, v=sc.f32[3])


counter = itertools.count()
ticket = []


@pytest.mark.parametrize(
    "impure",
    [
        lambda x: x * next(counter),
        lambda x: x + random.random(),
        lambda x: x + np.random.default_rng().normal(),
        lambda x: ticket.append(0) or x * len(ticket),
        lambda x: x if next(counter) % 2 else -x,
        lambda x: sc.constant(np.random.default_rng().normal(size=3)) * x,
        lambda x: sc.over_time(lambda y: y * next(counter))(sc.stack([x, x])),
    ],
)
def test_tracing_is_pure(impure):
    error = only(impure, "SE105", x=sc.f32)
    assert error.where.file == __file__ and "first `" in str(error) and "then `" in str(error)


leaked: list = []


def test_streams_do_not_leak():
    def keep(x):
        leaked.append(x + 1)
        return x

    compiled(keep, x=sc.f32)
    error = only(lambda x: x + leaked[0], "SE108", x=sc.f32)
    assert (
        "`add` is used outside of the node that made it" in error.what
        and "it was made in keep" in str(error)
    )
    assert error.where.file == __file__

    for use in (
        lambda s, x: sc.where(x > 0, s, x),
        lambda s, x: sc.stack([s, x]),
        lambda s, x: (s, x),
        lambda s, x: feed(s),
    ):
        assert only(lambda x: use(leaked[0], x), "SE108", x=sc.f32)

    with pytest.raises(sc.SeicheError) as caught:
        leaked[0] + 1
    assert caught.value.code == "SE108" and "outside of a node" in str(caught.value)
    with pytest.raises(sc.SeicheError):
        sc.state(0)


def feed(s):
    m = sc.state(0.0)
    m.next = s
    return m


def test_streams_do_not_leak_out_of_scanned_nodes():
    out: list = []

    def f(v):
        sc.over_time(lambda x: out.append(x) or x)(v)
        return out.pop()

    assert "outside of the scanned node" in only(f, "SE108", v=sc.f32[3]).what


def test_a_second_trace_after_an_error_is_clean():
    assert diagnostics(lambda x: x + sc.zeros(2) + sc.zeros(3), x=sc.f32)
    assert diagnostics(lambda x: branch(x), x=sc.f32)
    assert compiled(lambda x: x + 1, x=sc.f32).run([1.0]).tolist() == [2.0]


def test_several_faults_are_told_together():
    @sc.node
    def inner(x: sc.f32, k: sc.i32) -> sc.f32:
        return x * 2

    def f(x, v, i):
        a = x + i
        b = v @ sc.zeros((4, 2))
        c = sc.reshape(v, (2, 2))
        d = v[7]
        s = sc.state(0.0)
        s.next = v
        e = inner(x, x)
        w = sc.when(x, x)
        g = sc.where(x > 0, x, i)
        p = sc.concatenate([v, x])
        q = sc.over_time(lambda y: y + sc.zeros(2) + sc.zeros(3))(v)
        # Consequences of the above are not told.
        z = a * 2 + b.sum() + c.sum() + d + e + g + p.sum() + q.sum()
        return z + a @ b, w, inner(a, i)

    found = diagnostics(f, **X)
    assert [d.code for d in found] == [
        "SE203", "SE201", "SE201", "SE202", "SE201", "SE109", "SE302", "SE203", "SE201", "SE201"
    ], "\n\n".join(map(str, found))  # fmt: skip
    lines = [d.where.source for d in found]
    assert [line.split(" = ")[0] for line in lines] == [
        "a",
        "b",
        "c",
        "d",
        "s.next",
        "e",
        "w",
        "g",
        "p",
        "q",
    ]


def test_a_fault_that_ends_the_trace_comes_after_the_others():
    def f(x, v, i):
        a = x + i
        b = v[9]
        return a if x > 0 else b

    assert [d.code for d in diagnostics(f, **X)] == ["SE203", "SE202", "SE101"]


def test_a_python_error_of_a_consequence_is_not_told():
    def f(x, v, i):
        a = sc.reshape(v, (3, 2))
        rows, columns = a.shape
        return rows + columns

    assert [d.code for d in diagnostics(f, **X)] == ["SE201"]


def test_a_python_error_of_the_users_own_is_his():
    def f(x):
        return {}["missing"]

    with pytest.raises(KeyError):
        compiled(f, x=sc.f32)


def both(x, y):
    return x + y


def test_a_function_of_other_arguments_than_an_iterator_gives():
    """Not Python's complaint about a line of ours; what a function does inside of itself stays its own."""
    for wrong in (
        lambda v: sc.over_time(both)(v), lambda v: sc.over_time(both, carry=True)(v), lambda v: sc.over_space(both, 3)(v),
        lambda v: sc.to_time(both, rows=2)(v), lambda v: sc.to_space(both, 3)(v), lambda v: sc.over_time(both)(v, v, v),
        lambda v: sc.grad(both)(v.sum()), lambda v: sc.pipeline(both, 2)(v), lambda v: sc.over_time(sc.node(both))(v),
    ):  # fmt: skip
        error = only(wrong, "SE109", v=sc.f32[3])
        assert error.where.file == __file__ and "both" in error.where.source + error.what
        assert "argument: 'y'" in error.what or "too many positional" in error.what, error.what
        assert error.why[-1][1].source == "def both(x, y):"
    assert "not 3" in only(lambda v: sc.over_time(3)(v), "SE109", v=sc.f32[3]).what
    with pytest.raises(TypeError, match="missing 1 required"):
        compiled(lambda v: sc.over_time(lambda x: both(x))(v), v=sc.f32[3])


def test_missing_equations_are_told_together_with_faults_of_types():
    def f(x, i):
        s, t = sc.state(0.0), sc.state(1)
        y = x + i
        return s + t.to(sc.f32) + y

    found = diagnostics(f, x=sc.f32, i=sc.i32)
    assert [d.code for d in found] == ["SE203", "SE102", "SE102"]
    assert "`s`" in found[1].what and "`t`" in found[2].what


def test_warnings_name_what_is_unused():
    def f(x, y):
        waste = x * 2  # noqa: F841
        sc.hold(sc.when(x, x > 0))
        return x

    found = sc.diagnose(sc.node(f), sc.f32, sc.f32)
    assert [(d.code, d.severity) for d in found] == [("SE107", "warning")] * 2
    assert "`y`" in found[0].what and "`waste`" in found[1].what


def test_every_message_reads_well():
    """What, where with its source, why, hint: no internal names, no place of ours."""
    for body in (
        branch,
        loop,
        lambda x: float(x),
        lambda x: np.sin(x),
        lambda x: x + sc.zeros(2) + sc.zeros(3),
    ):
        (error,) = diagnostics(body, x=sc.f32)
        text = str(error)
        assert "seiche/lang" not in text and "Traceback" not in text and error.where.source in text
        assert all(place is None or place.file == __file__ for _, place in error.why)


def test_the_work_of_tracing_grows_as_the_program_does():
    """Counted in function calls: what a clock says would depend on the machine."""

    def calls(n: int) -> int:
        def f(v):
            for i in range(n):
                v = sc.tanh(v * 0.5 + i) + sc.roll(v, 1)
            return v

        count = 0

        def counting(frame, event, arg):
            nonlocal count
            count += event == "call"

        before = sys.getprofile()
        sys.setprofile(counting)
        try:
            sc.node(f).trace(v=sc.f32[3])
        finally:
            sys.setprofile(before)
        return count

    calls(10)  # what is imported and computed once
    few, some, many = calls(80), calls(160), calls(240)
    assert 0.95 < (many - some) / (some - few) < 1.05


def test_an_activation_that_never_happens():
    x, c = reals(1, 4), np.zeros(4, bool)
    got = run(
        lambda x, c: sc.hold(sc.activate(c, lambda y: sc.fby(1.0, y), x), 7.0),
        x,
        c,
        x=sc.f32,
        c=sc.bool_,
    )
    assert got.tolist() == [7.0] * 4 and bits(1, 2).shape == (2,)
