"""What a linker has laid out: sections and symbols of an ELF, read with pyelftools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seiche.errors import NOWHERE, fail

WRITE, ALLOC = 1, 2


@dataclass(frozen=True)
class Elf:
    """Bytes by section that occupies memory on the target, and bytes by symbol of data or code."""

    sections: dict[str, int]
    symbols: dict[str, int]

    @property
    def flash_bytes(self) -> int:
        """What is kept in flash: code, constants, the initial values of variables."""
        return sum(self.sections.get(s, 0) for s in (".text", ".rodata", ".data"))

    @property
    def ram_bytes(self) -> int:
        """Variables, without the stack."""
        return sum(self.sections.get(s, 0) for s in (".data", ".bss"))


def read_elf(path: Path) -> Elf:
    """The sizes in an ELF; raises SE901 without the extra `deploy`, ValueError where it is none."""
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError:
        hint = '`pip install "seiche[deploy]"` brings it'
        raise fail("SE901", "reading an ELF takes pyelftools", NOWHERE, hint=hint) from None
    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
        except ELFError as error:
            raise ValueError(f"no ELF ({error})") from None
        sections = {
            s.name: int(s["sh_size"])
            for s in elf.iter_sections()
            if s["sh_flags"] & ALLOC and s["sh_size"]
        }
        table: Any = elf.get_section_by_name(".symtab")
        found = [] if table is None else list(table.iter_symbols())
        symbols: dict[str, int] = {}
        for s in found:
            if s["st_info"]["type"] in ("STT_OBJECT", "STT_FUNC") and s["st_size"]:
                symbols[s.name] = symbols.get(s.name, 0) + int(s["st_size"])
    return Elf(sections, symbols)
