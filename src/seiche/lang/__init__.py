"""The language: nodes, streams, clocks, frames, automata, derivatives, by tracing Python functions."""

import seiche.ir.ops  # pyright: ignore[reportUnusedImport]  # noqa: F401  (fills the table)
