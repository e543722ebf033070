import seiche as sc


@sc.node
def rectify(x: sc.f32) -> sc.f32:
    if x > 0:
        return x
    return -x


def program():
    sc.compile(rectify)
