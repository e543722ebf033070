import seiche as sc


@sc.node
def feedback(x: sc.f32) -> sc.f32:
    y = sc.var(sc.f32)
    return x + sc.fby(0.0, y)


def program():
    sc.compile(feedback)
