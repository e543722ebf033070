import numpy as np

import seiche as sc


@sc.node
def critic(reward: sc.f32, done: sc.bool_) -> sc.f32:
    with sc.frame(max=64, until=done) as episode:
        ahead = sc.costate(0.0)
        ahead.prev = reward + sc.tanh(0.9 * ahead)
        gain = episode.sum(sc.square(ahead.prev))
    best = sc.state(0.0)
    best.next = sc.maximum(best, gain)
    return best.next


def program():
    reward, done = np.ones(64, np.float32), np.zeros(64, bool)
    done[[39, 44]] = True
    sc.compile(critic, deadline=300).run(reward, done)
