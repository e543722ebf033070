import tempfile
from pathlib import Path

import seiche as sc


@sc.node
def twice(x: sc.f32) -> sc.f32:
    return 2.0 * x


def program():
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        project.mkdir()
        (project / "README.md").write_text("# My firmware")
        sc.deploy(sc.compile(twice), project)
