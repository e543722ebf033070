"""All checks of a node and of the bodies inside it, in the order in which they can trust each other.

    usage, types, frames        what an equation is
    clocks, causality           when it happens, and in which order
    initialisation              what it holds at first

A stage runs when those before it found nothing: the errors of a stage are raised together, and none is a consequence of another.
"""

from __future__ import annotations

from seiche.check import causality, clocks, frames, initialisation, types, usage
from seiche.check.facts import Facts, NodeFacts, Place
from seiche.errors import Diagnostic, SeicheError
from seiche.ir.core import Call, Frame, Node, Scan


def verify(node: Node) -> Facts:
    """What is known of a node; raises one SeicheError with all errors of the first stage that found any.

    >>> from seiche.ir.parse import parse
    >>> node = parse("node count(one: i32) -> (n) { n: i32 = fby(one, next) next: i32 = add(n, one) }")
    >>> [(c.vars, c.direction) for c in verify(node)[node].components]
    [((n: i32, next: i32), 'forward')]
    """
    places = _places(node)
    stage = ((*usage.check(n), *types.check(n), *frames.check(n, p)) for n, p in places.items())
    _stop([fault for found in stage for fault in found])

    facts = Facts()
    late: list[Diagnostic] = []
    for inner, place in places.items():
        found, clock_faults = clocks.check(inner, place, body=inner is not node)
        swept, cycle_faults = causality.check(inner, place, found)
        facts.nodes[inner] = NodeFacts(place, found, swept)
        late += clock_faults + cycle_faults
    _stop(late)

    _stop([f for n in places for f in initialisation.check(n, facts[n].clocks)])
    unused = [usage.unused(n, inputs=n is node) for n in places]
    facts.warnings = tuple(w for found in unused for w in found)
    return facts


def _stop(faults: list[Diagnostic]) -> None:
    if faults:
        raise SeicheError(dict.fromkeys(faults))


def _places(node: Node, place: Place = "node") -> dict[Node, Place]:
    """The node and its bodies, outermost first, each once, with where its time runs."""
    places: dict[Node, Place] = {}
    todo: list[tuple[Node, Place]] = [(node, place)]
    while todo:
        inner, where = todo.pop(0)
        if places.get(inner) in (where, "node"):
            continue
        places[inner] = where
        for eq in inner.eqs:
            match eq.rhs:
                case Scan(body=body) | Frame(body=body):
                    todo.append((body, "rows"))
                case Call(body=body, vjp=vjp):
                    for each in (body, *(() if vjp is None else (vjp,))):
                        todo.append((each, where))
                case _:
                    pass
    return places
