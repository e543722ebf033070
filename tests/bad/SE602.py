import seiche as sc


@sc.node
def episode(reward: sc.f32, done: sc.bool_) -> sc.f32:
    with sc.frame(max=3, until=done) as fr:
        return fr.sum(reward)


def program():
    sc.compile(episode).run([1.0, 1.0, 1.0, 1.0], [False, False, False, False])
