import seiche as sc


def loss(w, xs):
    def cell(x):
        h = sc.state(0.0)
        h.next = sc.tanh(w * h + x)
        return sc.square(h.next)

    return sc.over_time(cell)(xs).sum()


@sc.node
def learner(x: sc.f32) -> sc.f32:
    w = sc.state(0.5)
    w.next = w - 0.01 * sc.grad(loss)(w, sc.gather(x, 64))
    return w.next


def program():
    sc.compile(learner, deadline=80)
