import seiche as sc


@sc.node
def twice(x: sc.f32) -> sc.f32:
    return 2.0 * x


def program():
    sc.compile(twice, target="fpga")
