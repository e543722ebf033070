import seiche as sc


@sc.node
def deviation(x: sc.f32, sampled: sc.bool_) -> sc.f32:
    reference = 2.0 * sc.when(x, sampled)
    return x - reference


def program():
    sc.compile(deviation)
