import seiche as sc


@sc.node
def smooth(x: sc.f32) -> sc.f32:
    y = sc.var(sc.f32)
    before = sc.fby(0.0, y)
    after = sc.post(y, 0.0)
    y.define(0.5 * x + 0.25 * before + 0.25 * after)
    return y


def program():
    sc.compile(smooth)
