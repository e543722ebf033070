"""The language: nodes, streams, clocks, frames, automata, derivatives, by tracing Python functions."""

import seiche.ir.ops  # fills the table  # noqa: F401
