"""Worlds to learn in: nodes that take the action of the tick before and give the experience of this one.

A world and a learner close a loop: `action = sc.var(i32)`, `now = world(sc.fby(0, action), key)`,
`action.define(agent(*now).action)`; so they compile into one program. `key` (u32[2]) is that of all chance.
"""
