"""Names and lines are the user's: recovered from assignments of every kind, without source too, and shown in diagnostics."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import seiche as sc
from seiche.ir.core import Apply, Fby
from tests.lang import only


def names(function, **types) -> list[str]:
    """The names of the operations of a node, in order."""
    node = sc.compile(sc.node(function), **types).node
    return [v.name for eq in node.eqs if isinstance(eq.rhs, Apply) for v in eq.outs]


def test_an_assignment_names_what_it_assigns():
    def f(x):
        plain = x + 1
        typed: object = plain * 2
        typed += 3
        left, right = typed - 1, -plain
        (walrus := left * right)
        several = lines = walrus + sc.tanh(
            left,
        )
        return several, lines

    assert names(f, x=sc.f32) == [
        "plain",
        "typed",
        "typed",
        "left",
        "right",
        "walrus",
        "tanh",
        "several",
    ]


def test_only_the_whole_value_takes_the_name():
    def f(x):
        y = sc.mean(x + 1)
        z = helper(x * 2)
        return y, z

    def helper(a):
        inner = a - 1
        return inner * 3

    assert names(f, x=sc.f32[3]) == ["add", "sum", "y", "mul", "inner", "out_1"]


def test_memories_are_named():
    class Holder:
        pass

    def f(x):
        one, two = sc.state(0.0), sc.costate(0.0)
        one.next = one + x
        two.prev = two * x
        holder = Holder()
        holder.inner = sc.state({"a": 0.0, "b": [0.0]})
        holder.inner.next = {"a": x, "b": [holder.inner["b"][0]]}
        late = sc.fby(0.0, sc.state(1.0) if x is None else x)
        return sc.fby(0.0, one) + late + holder.inner["a"] + holder.inner["b"][0], two

    node = sc.node(f).trace(x=sc.f32).node
    found = {v.name for eq in node.eqs if isinstance(eq.rhs, Fby) for v in eq.outs}
    assert found == {"one", "holder_inner_a", "holder_inner_b_0", "late", "fby"}
    assert {"one_next", "two_prev"} <= {v.name for eq in node.eqs for v in eq.outs}


def test_equations_know_their_lines_and_instances():
    @sc.node
    def inner(x: sc.f32) -> sc.f32:
        twice = x + x
        return twice

    def f(x):
        return inner(x)

    (eq,) = sc.compile(sc.node(f), x=sc.f32).node.eqs
    assert eq.out.name == "twice" and eq.out.scope == ("inner",)
    assert eq.out.loc.file == __file__ and eq.out.loc.source == "twice = x + x"


def test_names_in_lambdas_and_comprehensions():
    assert names(lambda x: [x * i for i in (1, 2)], x=sc.f32) == ["out_0", "out_1"]
    assert names(lambda x: (y := x + 1) * y, x=sc.f32) == ["y", "out"]


def test_diagnostics_use_the_names_at_once():
    """A stream that is assigned is called so in the errors of the next line."""

    def f(x):
        wide = sc.stack([x, x])
        narrow = sc.zeros(3) * x
        return wide + narrow

    error = only(f, "SE201", x=sc.f32)
    assert [text for text, _ in error.why] == ["`wide` is f32[2]", "`narrow` is f32[3]"]
    assert [place.source.split(" = ")[0] for _, place in error.why] == ["wide", "narrow"]
    assert error.where.source == "return wide + narrow"


# fmt: off
def test_an_error_in_a_statement_of_many_lines_names_the_line_of_the_fault():
    def f(x):
        return (
            x
            + sc.concatenate(
                [x, x],
            )
        )

    assert only(f, "SE202", x=sc.f32).where.source == "+ sc.concatenate("
# fmt: on


SOURCE = """
import seiche as sc

@sc.node
def total(x: sc.f32) -> sc.f32:
    s = sc.state(0.0)
    s.next = s + x
    y = s.next * 2
    return y

program = sc.compile(total)
assert program.run([1.0, 2.0]).tolist() == [2.0, 6.0]
try:
    sc.compile(sc.node(lambda x: x + sc.zeros(2) + sc.zeros(3)), x=sc.f32)
except sc.SeicheError as error:
    assert error.code == "SE201" and str(error)
else:
    raise AssertionError
"""


def test_without_source():
    exec(SOURCE, {"__name__": "nowhere"})
    exec(compile(SOURCE, "<nothing>", "exec"), {})
    done = subprocess.run([sys.executable, "-c", SOURCE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_typed_at_a_prompt():
    lines = textwrap.dedent(
        """
        import seiche as sc
        @sc.node
        def f(x: sc.f32) -> sc.f32:
            y = x + 1
            return y

        print(sc.compile(f).run([1.0]).tolist())
        """
    )
    done = subprocess.run([sys.executable, "-i", "-q"], input=lines, capture_output=True, text=True)
    assert "[2.0]" in done.stdout, done.stderr


def test_without_positions():
    done = subprocess.run(
        [sys.executable, "-X", "no_debug_ranges", "-c", SOURCE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_module_that_is_edited_is_read_again(tmp_path, monkeypatch):
    import importlib
    import linecache

    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "edited_module.py"
    text = "import seiche as sc\n@sc.node\ndef f(x: sc.f32):\n    NAME = x + 1\n    return NAME\n"
    path.write_text(text.replace("NAME", "first"))
    module = importlib.import_module("edited_module")
    assert [v.name for v in sc.compile(module.f).node.outputs] == ["first"]
    path.write_text(text.replace("NAME", "second_one"))
    linecache.checkcache(str(path))
    importlib.invalidate_caches()
    module = importlib.reload(module)
    assert [v.name for v in sc.compile(module.f).node.outputs] == ["second_one"]


@pytest.mark.parametrize("bad", ["def f(:\n", "x = '\0'"])
def test_source_that_does_not_parse_gives_no_names(bad, monkeypatch):
    import linecache

    monkeypatch.setitem(linecache.cache, "<broken>", (len(bad), None, [bad], "<broken>"))
    scope: dict = {}
    exec(
        compile("import seiche as sc\ndef f(x):\n    y = x + 1\n    return y", "<broken>", "exec"),
        scope,
    )
    assert names(scope["f"], x=sc.f32) == ["out"]
