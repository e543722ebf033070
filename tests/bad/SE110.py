import seiche as sc


@sc.node
def recent(x: sc.f32[8], n: sc.i32) -> sc.f32:
    return x[:n].sum()


def program():
    sc.compile(recent)
