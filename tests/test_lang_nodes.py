"""Nodes: each use is an instance; arguments and results are trees; everything that is no stream is fixed when traced."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

import seiche as sc
from tests.lang import bits, compiled, ints, only, reals, run


@sc.node
def total(x: sc.i32, step: int = 1) -> sc.i32:
    s = sc.state(0)
    s.next = s + step * x
    return s.next


@dataclass
class Reading:
    level: sc.f32
    parts: sc.i32[2]


NESTED = {"a": sc.i32, "b": (sc.i32, [sc.i32])}


class Pair(NamedTuple):
    a: sc.i32
    b: sc.i32


def sums(x: np.ndarray, reset: np.ndarray | None = None) -> np.ndarray:
    """Running sums that start again at the ticks where `reset`."""
    out, s = [], 0
    for t, v in enumerate(x):
        s = v if reset is not None and reset[t] else s + v
        out.append(s)
    return np.array(out, x.dtype)


def test_each_use_has_memory_of_its_own():
    x = ints(1, 9)

    def two(x: sc.i32) -> tuple[sc.i32, sc.i32, sc.i32]:
        return total(x), total(2 * x), total(total(x))

    a, b, c = run(two, x)
    assert a.tolist() == sums(x).tolist()
    assert b.tolist() == sums(2 * x).tolist()
    assert c.tolist() == sums(sums(x)).tolist()


def test_instances_made_in_a_loop():
    x = ints(2, 6, 3)

    def three(x: sc.i32[3]) -> sc.i32[3]:
        return sc.stack([total(row, step=i + 1) for i, row in enumerate(x)])

    np.testing.assert_array_equal(run(three, x), np.cumsum(x * [1, 2, 3], axis=0))


def test_trees_of_every_kind():
    def swap(d: NESTED, r: Reading, p: Pair, t: tuple[sc.i32, sc.f32[2]]):
        a, (b, [c]) = d["a"], d["b"]
        return {
            "pair": Pair(p.b, p.a),
            "list": [c, b],
            "reading": Reading(r.level + t[1].sum(), r.parts * a),
            "one": t[0],
        }

    d = {"a": ints(1, 4), "b": (ints(2, 4), [ints(3, 4)])}
    r, p, t = (
        Reading(reals(4, 4), ints(5, 4, 2)),
        Pair(ints(6, 4), ints(7, 4)),
        (ints(8, 4), reals(9, 4, 2)),
    )
    out = run(swap, d, r, p, t)
    assert (
        isinstance(out["pair"], Pair)
        and isinstance(out["reading"], Reading)
        and isinstance(out["list"], list)
    )
    np.testing.assert_array_equal(out["pair"].a, p.b)
    np.testing.assert_array_equal(out["list"][0], d["b"][1][0])
    np.testing.assert_array_equal(out["reading"].parts, r.parts * d["a"][:, None])
    np.testing.assert_allclose(out["reading"].level, r.level + t[1].sum(1), rtol=1e-6)


def test_trees_pass_through_instances():
    @sc.node
    def inner(p: Pair) -> Pair:
        return Pair(total(p.a), p.b - p.a)

    def outer(a: sc.i32, b: sc.i32) -> Pair:
        return inner(Pair(a=b, b=a))

    a, b = ints(1, 5), ints(2, 5)
    out = run(outer, a, b)
    np.testing.assert_array_equal(out.a, np.cumsum(b))
    np.testing.assert_array_equal(out.b, a - b)


def test_a_state_may_be_a_tree():
    def f(x: sc.f32) -> tuple[sc.f32, sc.i32]:
        s = sc.state({"mean": 0.0, "count": [0, Pair(1, 2)]})
        n, p = s["count"]
        s.next = {"count": [n + 1, Pair(p.b, p.a)], "mean": s["mean"] + x}
        assert s.next["mean"].shape == ()
        return s["mean"], n + p.a

    x = reals(1, 5)
    mean, n = run(f, x)
    np.testing.assert_allclose(mean, np.concatenate([[0], np.cumsum(x)[:-1]]), rtol=1e-6)
    assert n.tolist() == [1, 3, 3, 5, 5]


def test_closed_over_values_defaults_and_static_arguments():
    table, gain = np.arange(4, dtype=np.float32), 3

    @sc.node
    def f(
        x: sc.f32, i: sc.i32, scale: float = 2.0, names: tuple = ("a",), *, offset: int
    ) -> sc.f32:
        assert names == ("a",)
        return gain * x * scale + sc.constant(table)[i] + offset

    x, i = reals(1, 4), np.array([0, 1, 2, 3], np.int32)
    np.testing.assert_allclose(run(f, x, i, offset=1), 6 * x + table + 1, rtol=1e-6)
    np.testing.assert_allclose(compiled(f, scale=1.0, offset=0).run(x, i), 3 * x + table, rtol=1e-6)
    np.testing.assert_allclose(compiled(f, offset=0).run(i=i, x=x), 6 * x + table, rtol=1e-6)


def test_a_stream_argument_may_have_a_default_or_be_fixed():
    @sc.node
    def f(x: sc.f32, gain: sc.f32 = 2.0, mask: sc.f32[2] = None) -> sc.f32:
        assert isinstance(gain, sc.Stream) and mask is None
        return x * gain

    x = reals(1, 3)
    np.testing.assert_array_equal(run(f, x), 2 * x)
    np.testing.assert_array_equal(run(f, x, gain=3.0), 3 * x)
    np.testing.assert_array_equal(compiled(f, gain=sc.f32).run(x, x), x * x)


def test_an_argument_without_annotation_takes_a_type():
    @sc.node
    def f(x, y):
        return x["a"] + y

    program = sc.compile(f, {"a": sc.i32}, sc.i32)
    assert program.run({"a": [1, 2]}, [3, 4]).tolist() == [4, 6]


def test_variadic_arguments():
    @sc.node
    def add(*xs: sc.i32, **more: sc.i32) -> sc.i32:
        return sum(xs) + sum(more.values())

    def f(x: sc.i32) -> sc.i32:
        return add(x, 2, x, last=x)

    assert run(f, [1, 2]).tolist() == [5, 8]


def test_positional_only_and_keyword_only():
    @sc.node
    def f(x: sc.i32, /, *, y: sc.i32) -> sc.i32:
        return x - y

    assert sc.compile(f).run([5], [3]).tolist() == [2]
    assert run(lambda x: f(x, y=1), [5], x=sc.i32).tolist() == [4]


class Filter:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    @sc.node
    def step(self, x: sc.f32) -> sc.f32:
        mean = sc.state(0.0)
        mean.next = mean + self.rate * (x - mean)
        return mean.next

    def __call__(self, x: sc.f32) -> sc.f32:
        return self.step(x) + self.step(x)

    @sc.node
    @staticmethod
    def double(x: sc.f32) -> sc.f32:
        return x + x


def test_methods_callables_lambdas_partials_and_closures_are_nodes():
    x = reals(3, 6)
    once = []
    mean = 0.0
    for v in x:
        mean += 0.5 * (v - mean)
        once.append(mean)
    one = Filter(0.5)
    np.testing.assert_allclose(run(one.step, x), once, rtol=1e-5)
    np.testing.assert_allclose(run(sc.node(one), x), np.multiply(once, 2), rtol=1e-5)
    np.testing.assert_array_equal(run(Filter.double, x), 2 * x)
    np.testing.assert_array_equal(run(sc.node(lambda x: x + 1), x, x=sc.f32), x + 1)

    def scaled(x: sc.f32, by: float) -> sc.f32:
        return x * by

    np.testing.assert_array_equal(run(sc.node(functools.partial(scaled, by=4.0)), x), 4 * x)

    def maker(k):
        @sc.node
        def f(x: sc.f32) -> sc.f32:
            return k * x

        return f

    np.testing.assert_allclose(
        run(lambda x: maker(2)(x) - maker(5)(x), x, x=sc.f32), -3 * x, rtol=1e-6
    )


def test_recursion_of_python_functions_unrolls():
    def tree_sum(xs):
        return (
            xs[0] if len(xs) == 1 else tree_sum(xs[: len(xs) // 2]) + tree_sum(xs[len(xs) // 2 :])
        )

    @sc.node
    def chain(x: sc.i32, n: int) -> sc.i32:
        return x if n == 0 else total(chain(x, n - 1))

    x = ints(4, 5, 7)
    np.testing.assert_array_equal(run(lambda x: tree_sum(x), x, x=sc.i32[7]), x.sum(1))
    want = x[:, 0]
    for _ in range(3):
        want = np.cumsum(want)
    np.testing.assert_array_equal(run(lambda x: chain(x, 3), x[:, 0], x=sc.i32), want)


def test_reset_of_an_instance_reaches_what_is_inside():
    @sc.node
    def outer(x: sc.i32) -> tuple[sc.i32, sc.i32]:
        return total(total(x)), sc.fby(-1, x)

    x, r = ints(5, 12), bits(6, 12)
    sums_, before = run(lambda x, r: outer(x, reset=r), x, r, x=sc.i32, r=sc.bool_)
    inner = sums(x, r)
    assert sums_.tolist() == sums(inner, r).tolist()
    assert before.tolist() == [-1 if t == 0 or r[t] else x[t - 1] for t in range(12)]
    late = np.concatenate([[False], r[:-1]])
    assert sums_.tolist() != sums(sums(x, late), late).tolist(), (
        "a reset a tick later must be noticed"
    )


def test_nested_resets_add_up():
    @sc.node
    def middle(x: sc.i32, r: sc.bool_) -> sc.i32:
        return total(x, reset=r)

    x, r, q = ints(7, 20), bits(8, 20, 0.2), bits(9, 20, 0.2)
    got = run(
        lambda x, r, q: (middle(x, r, reset=q), total(x)), x, r, q, x=sc.i32, r=sc.bool_, q=sc.bool_
    )
    assert got[0].tolist() == sums(x, r | q).tolist()
    assert got[1].tolist() == sums(x).tolist()


def test_an_argument_of_the_name_reset_is_the_nodes_own():
    @sc.node
    def counter(x: sc.i32, reset: sc.bool_) -> sc.i32:
        n = sc.state(0, reset=reset)
        n.next = n + x
        return n.next

    x, r = ints(1, 8), bits(2, 8)
    assert run(counter, x, r).tolist() == sums(x, r).tolist()
    assert (
        run(lambda x, r: counter(x, reset=r), x, r, x=sc.i32, r=sc.bool_).tolist()
        == sums(x, r).tolist()
    )


def test_an_instance_can_be_reset_by_what_it_computes():
    def f(x: sc.i32) -> sc.i32:
        big = sc.var(sc.bool_)
        s = total(x, reset=sc.fby(False, big))
        big.define(s > 10)
        return s

    x = np.array([5, 5, 5, 1, 9, 9, 1], np.int32)
    out, s, again = [], 0, False
    for v in x:
        s = v if again else s + v
        again = s > 10
        out.append(s)
    assert run(f, x).tolist() == out


def test_string_annotations_see_local_names():
    width = 3
    Local = sc.f32[width]

    @sc.node
    def f(x: "Local") -> "sc.f32[width]":  # noqa: UP037
        return -x

    x = reals(1, 2, 3)
    np.testing.assert_array_equal(run(f, x), -x)


def test_what_is_returned_is_what_is_said():
    def f(x: sc.f32) -> sc.f32:
        return 1 if x is None else 0

    assert compiled(f).run([1.0]).dtype == np.float32
    error = only(lambda_(sc.i32), "SE111")
    assert "the result is f32, not i32" in error.what
    assert "another form" in only(lambda_((sc.f32, sc.f32)), "SE111").what


def lambda_(returned):
    def f(x: sc.f32):
        return 2 * x

    f.__annotations__["return"] = returned
    return f


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda x: total(), "missing a required argument: 'x'"),
        (lambda x: total(x, y=2), "unexpected keyword argument 'y'"),
        (lambda x: total([x]), "argument `x` is the list"),
        (lambda x: total("x"), "argument `x` is the str 'x', not i32"),
        (lambda x: total(x.to(sc.f32)), "argument `x` is f32, not i32"),
        (lambda x: total(sc.stack([x, x])), "argument `x` is i32[2], not i32"),
        (lambda x: total(0.5), "argument `x` is f32, not i32"),
    ],
)
def test_arguments_that_do_not_fit(call, what):
    error = only(call, "SE109", x=sc.i32)
    assert what in error.what
    assert error.where.file == __file__


def test_compile_refuses_arguments_that_the_node_does_not_have():
    assert "unexpected keyword argument 'stepp'" in only(total, "SE109", stepp=2).what
    assert "`x` has neither a stream type nor a value" in only(lambda x: x, "SE109").what
    with pytest.raises(sc.SeicheError, match="too many positional"):
        sc.compile(total, sc.i32, 1, 2)


@pytest.mark.parametrize("returned", [None, "text", object(), {"a": "b"}, []])
def test_results_that_are_no_streams(returned):
    assert only(lambda x: returned, "SE111", x=sc.i32).where.file == __file__


def test_a_node_may_return_numbers_and_its_inputs():
    out = run(lambda x: (x, 1, x, np.arange(2.0)), [1, 2], x=sc.i32)
    assert [o.tolist() for o in out] == [[1, 2], [1, 1], [1, 2], [[0, 1], [0, 1]]]


def test_tracing_twice_gives_one_program():
    from seiche.ir.fingerprint import fingerprint

    assert fingerprint(sc.compile(total).node) == fingerprint(sc.compile(total).node)


def test_outside_of_a_trace_a_node_cannot_be_called():
    with pytest.raises(sc.SeicheError) as caught:
        total(1)
    assert caught.value.code == "SE108"


def test_a_lambda_is_where_it_is_written_and_a_node_where_its_def_is():
    whole = sc.node(lambda x: x)
    assert "lambda x: x" in whole.where.source
    assert total.where.source.startswith("def total")
