import seiche as sc

gains = iter([0.1, 0.2, 0.3])


@sc.node
def scaled(x: sc.f32) -> sc.f32:
    gain = next(gains)
    return gain * x


def program():
    sc.compile(scaled)
