"""Streams spread over devices: which axis of which Var, as `jax.sharding` wants it.

A Var is named as users see it: an input or a state by its name, any other stream by the path of instances and its name.
Whatever is not named lies where XLA's propagation puts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from seiche.backends.xla.library import Array, Mesh, NamedSharding, PartitionSpec, jax, lax
from seiche.errors import NOWHERE, fail
from seiche.ir.core import Var
from seiche.schedule.lower import Lowered

AXIS = "devices"
"""The name of the mesh's one axis."""


def path(var: Var) -> str:
    """How users name a stream."""
    return "/".join((*var.scope, var.name))


def devices_of(devices: int | Sequence[object] | None, device: str | None) -> list[object]:
    """The devices to run on: the first n, those given, or the default one of a kind ("cpu", "gpu")."""
    if isinstance(devices, Sequence) and not isinstance(devices, str) and len(devices):
        return list(devices)
    count = 1 if devices is None else devices
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise fail(
            "SE904", f"devices={devices!r} is no number of devices", NOWHERE,
            hint="devices=4, or a list of JAX's devices: jax.devices()[:4]",
        )  # fmt: skip
    try:
        there = list(jax.devices(device) if device else jax.devices())
    except RuntimeError as error:
        raise fail("SE904", f"JAX has no {device!r}", NOWHERE, str(error).splitlines()[0]) from None
    if count > len(there):
        raise fail("SE904", f"{count} devices were asked for, JAX has {len(there)}", NOWHERE)
    return there[:count]


@dataclass(frozen=True)
class Sharding:
    """`axes[var]`: the axis of that stream that is spread over the devices."""

    devices: list[object]
    axes: Mapping[Var, int] = field(default_factory=dict[Var, int])

    @property
    def many(self) -> bool:
        return len(self.devices) > 1

    @cached_property
    def mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (AXIS,))

    def of(self, var: Var, lead: int = 0) -> object:
        """Where the Var lies; `lead` axes (ticks) stand before its own."""
        if not self.many:
            return jax.sharding.SingleDeviceSharding(self.devices[0])
        axis = self.axes.get(var)
        parts = () if axis is None else (*(None,) * (lead + axis), AXIS)
        return NamedSharding(self.mesh, PartitionSpec(*parts))

    def put(self, var: Var, value: Array, lead: int = 0) -> Array:
        """The value on its devices."""
        return jax.device_put(value, self.of(var, lead))

    def place(self, var: Var, value: Array) -> Array:
        """While a tick is traced: the value, laid out as was asked for."""
        if not self.many or var not in self.axes:
            return value
        return lax.with_sharding_constraint(value, self.of(var))


def axes_of(lowered: Lowered, shard: Mapping[str, int], devices: int) -> dict[Var, int]:
    """The axes by Var; raises SE904 unless every name is a stream, whose axis the devices divide."""
    node = lowered.node
    known = {path(v): v for v in (*(out for eq in node.eqs for out in eq.outs), *node.inputs)}
    known |= {name: eq.out for name, eq in lowered.states.items()}
    for name, axis in shard.items():
        if name not in known:
            why = f"inputs and states: {', '.join([*map(path, node.inputs), *lowered.states])}"
            raise fail("SE904", f"`shard` names no stream: {name!r}", node.loc, why)
        var = known[name]
        if not (0 <= axis < len(var.type.shape) and var.type.shape[axis] % devices == 0):
            what = f"axis {axis} of `{name}`: {var.type} cannot be split over {devices} devices"
            raise fail("SE904", what, var.loc)
    return {known[name]: axis for name, axis in shard.items()}
