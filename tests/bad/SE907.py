from seiche.ir.parse import parse

TEXT = """
node delay(x: f32) -> (y) {
  zero: f32 = 0.0
  y: f32 = fby(zero x)
}
"""


def program():
    parse(TEXT.strip())
