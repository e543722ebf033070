import seiche as sc


@sc.node
def row_total(x: sc.f32) -> sc.f32:
    with sc.frame(max=4, until=x > 0) as fr:
        return sc.hold(fr.sum(x), 0.0)


@sc.node
def totals(image: sc.f32[8]) -> sc.f32[8]:
    return sc.over_time(row_total)(image)


def program():
    sc.compile(totals)
