"""The house rules of `docs/architecture.md`, read off the syntax trees of the sources.

One direction: `numbers ← ir ← {check, diff, timespace} ← schedule ← backends`; `ir ← lang ← learn`;
`{learn, backends} ← fleet ← cli`. A module imports from its own room and from rooms to its left.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "seiche"
LINES_MAX = 600

IR = {"numbers", "ir"}
TRANSFORMATIONS = {"check", "diff", "timespace"}
COMPILER = IR | TRANSFORMATIONS | {"schedule", "backends"}

ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "numbers": set(),
    "ir": {"numbers"},
    "check": IR,
    "diff": IR,
    "timespace": IR,
    "schedule": IR | TRANSFORMATIONS,
    "backends": IR | TRANSFORMATIONS | {"schedule"},
    # Functions of the surface such as grad() and to_space() call transformations while a node is traced.
    "lang": IR | TRANSFORMATIONS,
    "learn": IR | {"lang"},
    "fleet": COMPILER | {"lang", "learn"},
    "cli": COMPILER | {"lang", "learn", "fleet"},
    # The public surface names everything and loads it lazily.
    "__init__": COMPILER | {"lang", "learn", "fleet", "cli"},
    "__main__": {"cli"},
}
"""What each room may import beside itself and `errors`. `errors` imports nothing; nobody imports the surface."""

FREE = {"numpy"}
"""Third-party libraries that any module may import."""

PACKAGES = {"sklearn": "scikit-learn", "elftools": "pyelftools", "vcd": "pyvcd"}
"""Import names that differ from the name of their package."""


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def dotted(path: Path) -> str:
    """The module's name: `src/seiche/ir/core.py` is `seiche.ir.core`."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(path: Path) -> str:
    """The first folder below `seiche`, or the module's own name where it lies at the top."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Every import, at any depth: its line and the absolute name of what it asks for."""
    for at in ast.walk(tree):
        if isinstance(at, ast.Import):
            yield from ((at.lineno, alias.name) for alias in at.names)
        elif isinstance(at, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - at.level + 1] if at.level else []
            base = ".".join([*up, *([at.module] if at.module else [])])
            # `from seiche import x` asks for x: the name tells whether that is a room.
            deeper = base == "seiche"
            yield from ((at.lineno, f"{base}.{a.name}" if deeper else base) for a in at.names)


def package_of(path: Path) -> str:
    return dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]


def wrong_direction(path: Path, tree: ast.AST) -> list[str]:
    """The imports of a module that point right, or at the surface."""
    here = room(path)
    allowed = ROOMS.get(here, set()) | {here, "errors"}
    faults: list[str] = []
    for line, name in imports(tree, package_of(path)):
        if name.split(".")[0] != "seiche":
            continue
        target = name.split(".")[1] if "." in name else "__init__"
        if target not in ROOMS:
            target = "__init__"
        if target not in allowed:
            what = "the public surface" if target == "__init__" else f"room `{target}`"
            faults.append(f"{path.relative_to(ROOT)}:{line}: `{here}` imports {what} ({name})")
    return faults


def unannotated(path: Path, tree: ast.AST) -> list[str]:
    """The functions that leave an argument or their result without annotation."""
    methods = {
        id(f)
        for c in ast.walk(tree)
        if isinstance(c, ast.ClassDef)
        for f in c.body
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
        and "staticmethod" not in {getattr(d, "id", "") for d in f.decorator_list}
    }
    faults: list[str] = []
    for f in ast.walk(tree):
        if not isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        given = [*f.args.posonlyargs, *f.args.args][1 if id(f) in methods else 0 :]
        given += [*f.args.kwonlyargs, *(a for a in (f.args.vararg, f.args.kwarg) if a)]
        missing = [a.arg for a in given if a.annotation is None]
        missing += [] if f.returns else ["return"]
        if missing:
            faults.append(
                f"{path.relative_to(ROOT)}:{f.lineno}: {f.name} lacks {', '.join(missing)}"
            )
    return faults


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def third_party(name: str) -> str | None:
    """The top-level name of a library that is neither Python's nor ours."""
    top = name.split(".")[0]
    return None if top in sys.stdlib_module_names or top == "seiche" else top


def users_of_libraries() -> dict[str, set[str]]:
    """Each third-party library with the modules that import it."""
    users: dict[str, set[str]] = defaultdict(set)
    for path in modules():
        for _, name in imports(parse(path), package_of(path)):
            if library := third_party(name):
                users[library].add(dotted(path))
    return users


def report(faults: list[str]) -> str:
    return "\n" + "\n".join(faults)


def test_every_room_is_in_the_table() -> None:
    unknown = sorted({room(p) for p in modules()} - set(ROOMS))
    assert not unknown, f"rooms that the table does not know: {unknown}"


def test_the_table_has_no_cycle() -> None:
    left = {name: set(may) for name, may in ROOMS.items()}
    while left:
        free = [name for name, may in left.items() if not may]
        assert free, f"rooms that import each other: {sorted(left)}"
        for name in free:
            del left[name]
        left = {name: may - set(free) for name, may in left.items()}


def test_imports_point_left() -> None:
    faults = [fault for path in modules() for fault in wrong_direction(path, parse(path))]
    assert not faults, report(faults)


def test_files_are_short() -> None:
    sizes = {p: p.read_text(encoding="utf-8").count("\n") for p in modules()}
    faults = [f"{p.relative_to(ROOT)}: {n} lines" for p, n in sizes.items() if n >= LINES_MAX]
    assert not faults, report(faults)


def test_no_test_reads_a_clock() -> None:
    """What a test says must not depend on how busy a machine is: times are measured in bench/."""
    faults = [
        f"{path.name}:{line}: {name}"
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        for line, name in imports(parse(path), "tests")
        if name.split(".")[0] in {"time", "timeit"}
    ]
    assert not faults, report(faults)


def test_functions_are_annotated() -> None:
    faults = [fault for path in modules() for fault in unannotated(path, parse(path))]
    assert not faults, report(faults)


def test_each_library_is_imported_in_one_module() -> None:
    crowded = {
        lib: sorted(u) for lib, u in users_of_libraries().items() if lib not in FREE and len(u) > 1
    }
    assert not crowded, report([f"{lib}: {', '.join(by)}" for lib, by in crowded.items()])


def test_each_library_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # An extra for developers promises nothing to a user who installed the package.
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(r for e, r in extras.items() if e not in {"dev", "docs"})]
    declared = {re.match(r"[\w.-]+", r)[0].lower() for listed in lists for r in listed}
    imported = {PACKAGES.get(lib, lib) for lib in users_of_libraries()}
    assert imported <= declared, f"not declared in pyproject.toml: {sorted(imported - declared)}"


def test_importing_seiche_loads_nothing_but_python() -> None:
    """The surface is lazy: not even numpy is loaded before a name is asked for."""
    script = "import sys; old = set(sys.modules); import seiche; print(*set(sys.modules) - old)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = done.stdout.split()
    assert "seiche" in loaded
    assert not {lib for name in loaded if (lib := third_party(name))}


# The rules themselves must notice what they are for.


@pytest.mark.parametrize(
    ("where", "line", "caught"),
    [
        ("ir/x.py", "import seiche.check.clocks", True),
        ("ir/x.py", "from seiche.lang import node", True),
        ("ir/x.py", "from ..lang.trace import node", True),
        ("ir/x.py", "from seiche import backends", True),
        ("ir/x.py", "import seiche", True),
        ("learn/x.py", "from seiche import node", True),
        ("diff/x.py", "def f():\n    from seiche.check import clocks", True),
        ("errors.py", "from seiche.numbers import formats", True),
        ("ir/x.py", "from seiche.numbers.formats import Type", False),
        ("ir/ops/x.py", "from ..core import Var", False),
        ("ir/x.py", "from ..numbers import formats", False),
        ("ir/x.py", "from seiche.errors import Loc", False),
        ("lang/x.py", "from seiche.diff.reverse import vjp", False),
        ("backends/c/x.py", "from seiche import schedule", False),
        ("__init__.py", "from seiche.cli import main", False),
    ],
)
def test_direction_is_noticed(where: str, line: str, caught: bool) -> None:
    assert bool(wrong_direction(SOURCE / where, ast.parse(line))) == caught


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("def f(a: int) -> int: ...", ""),
        ("def f(a) -> int: ...", "a"),
        ("def f(*, a: int, **k): ...", "k, return"),
        ("class C:\n    def f(self, a: int) -> int: ...", ""),
        ("class C:\n    @staticmethod\n    def f(a) -> int: ...", "a"),
        ("def f() -> int:\n    def g(b): ...\n    return g(1)", "b, return"),
    ],
)
def test_missing_annotations_are_noticed(code: str, missing: str) -> None:
    faults = unannotated(SOURCE / "x.py", ast.parse(code))
    assert [f.partition(" lacks ")[2] for f in faults] == ([missing] if missing else [])
