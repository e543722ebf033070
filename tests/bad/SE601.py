import seiche as sc


@sc.node
def longest(x: sc.f32, done: sc.bool_) -> sc.f32:
    with sc.frame(max=0, until=done) as fr:
        return fr.last(x)


def program():
    sc.compile(longest)
