import seiche as sc


@sc.node
def heater(cold: sc.bool_) -> sc.f32:
    with sc.automaton() as auto:
        with auto.mode("off") as m:
            m.emit(power=0.0, fan=0.2)
            m.until(cold, "on")
        with auto.mode("on") as m:
            m.emit(power=1.0)
            m.until(~cold, "off")
    return auto.power + auto.fan


def program():
    sc.compile(heater)
