"""What an agent is told at a tick, and how it sees it: the boundary between learners and worlds."""

from __future__ import annotations

from typing import NamedTuple

from seiche.lang import functions as f
from seiche.lang.memory import fby, state
from seiche.lang.stream import Stream, Tensor, as_stream
from seiche.learn.rl.normalise import normalised, scaled_reward
from seiche.numbers.formats import bool_, f32


class Experience(NamedTuple):
    """A tick of a world: what is observed now, and what came of the action of the tick before.

    At the first tick of an episode the reward means nothing. Where `terminated` (nothing is to be gained any more) or
    `truncated` (time ran out) holds, the observation is the last of its episode, the action given to it is not carried out,
    and the next tick is the first of another: Gymnasium's "next step" order.

    >>> Experience(0.5, 1.0, False, False).reward
    1.0
    """

    observation: Stream
    reward: Stream
    terminated: Stream
    truncated: Stream

    @classmethod
    def of(
        cls, observation: Tensor, reward: Tensor, terminated: Tensor, truncated: Tensor
    ) -> Experience:
        """Of streams or constants."""
        ends = (as_stream(x, bool_) for x in (terminated, truncated))
        return cls(as_stream(observation), as_stream(reward), *ends)

    @property
    def ended(self) -> Stream:
        """Whether this is the last tick of an episode."""
        return self.terminated | self.truncated


class Sight(NamedTuple):
    """An experience as a streaming learner sees it: normalised, scaled, with the episodes' bounds spelled out."""

    features: Stream
    reward: Stream
    terminated: Stream
    opens: Stream


def seen(
    experience: Experience,
    discount: float,
    horizon: int | None = None,
    counts: Stream | bool = True,
) -> Sight:
    """Normalised features, with the time left beside them where there is a `horizon` (ticks): -1/2 to 1/2 over an episode.

    Ticks where `counts` does not hold move no scale.

    The preparation of Elsayed, Vasan & Mahmood 2024, section 3.
    """
    opens = fby(True, experience.ended)
    features = normalised(experience.observation, counts)
    if horizon is not None:
        age = state(0, until=experience.ended)
        age.next = age + 1
        features = f.concatenate([features, f.reshape(age.to(f32) / float(horizon) - 0.5, 1)])
    reward = scaled_reward(experience.reward, opens, experience.ended, discount, counts)
    return Sight(features, reward, experience.terminated, opens)
