"""Recordings as MCAP files, a JSON message per stream and tick. Needs the extra `traces` (mcap), which is imported here only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mcap.writer import Writer

from seiche.backends.recording import Track, seconds_per_tick
from seiche.numbers.formats import Type

if TYPE_CHECKING:
    from seiche.backends.recording import Recording

SPECIAL = ("NaN", "Infinity", "-Infinity")
"""How JSON says what it has no numbers for, as protobuf's mapping to JSON does."""


def write(recording: Recording, path: Path, tick_s: float) -> None:
    """The file: topics `/NODE/INSTANCE/STREAM`, times in nanoseconds from 0, messages in the order of ticks."""
    step_ns = seconds_per_tick(tick_s) * 1e9
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(library="seiche")
        channels = [_channel(writer, recording.name, s) for s in recording.tracks]
        for tick, k, value in sorted(_messages(recording.tracks), key=lambda m: m[:2]):
            data = json.dumps({"tick": tick, "value": value}).encode()
            at = round(tick * step_ns)
            writer.add_message(channels[k], at, data, at, tick)
        writer.finish()


def _channel(writer: Writer, name: str, track: Track) -> int:
    topic = "/".join(("", name, *track.scope, track.name))
    schema = {
        "title": f"{name}/{track.path}",
        "description": track.said or f"{track.kind}, {track.type}",
        "type": "object",
        "properties": {"tick": {"type": "integer"}, "value": _schema(track.type)},
    }
    number = writer.register_schema(topic, "jsonschema", json.dumps(schema).encode())
    return writer.register_channel(topic, "json", number)


def _schema(type: Type) -> dict[str, Any]:
    """Of a value: nested arrays of numbers or truth values."""
    kind = np.dtype(type.format.dtype).kind
    found: dict[str, Any] = {"type": {"b": "boolean", "f": "number"}.get(kind, "integer")}
    if kind == "f":
        found = {"oneOf": [found, {"type": "string", "enum": list(SPECIAL)}]}
    for extent in reversed(type.shape):
        found = {"type": "array", "items": found, "minItems": extent, "maxItems": extent}
    return found


def _messages(tracks: tuple[Track, ...]) -> Iterator[tuple[int, int, Any]]:
    """(tick, number of the stream, value)."""
    for k, track in enumerate(tracks):
        for tick, value in zip(track.ticks.tolist(), track.values, strict=True):
            yield tick, k, _plain(value.tolist())


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value
