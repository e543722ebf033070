import seiche as sc


@sc.node
def fused(coarse: sc.f32, fine: sc.f64) -> sc.f64:
    return coarse + fine


def program():
    sc.compile(fused)
