import seiche as sc


@sc.node
def heater(cold: sc.bool_) -> sc.f32:
    with sc.automaton() as auto:
        with auto.mode("off") as m:
            m.emit(power=0.0)
            m.until(cold, "on")
        with auto.mode("heating") as m:
            m.emit(power=1.0)
            m.until(~cold, "off")
    return auto.power


def program():
    sc.compile(heater)
