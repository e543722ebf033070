import seiche as sc


@sc.node
def trend(x: sc.f32, sampled: sc.bool_) -> sc.f32:
    slow = sc.when(x, sampled)
    return sc.post(slow, 0.0) - slow


def program():
    sc.compile(trend)
