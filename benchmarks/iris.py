"""The main job's model in a project of its own, for the benchmarks that build it."""

import shutil
from pathlib import Path

from benchmarks.measure import COMMAND, PROJECT, run

_FIXTURE = PROJECT / "fixtures" / "iris"


def project(folder: Path) -> Path:
    """Copy the fixture and give its model.py."""
    for path in _FIXTURE.iterdir():
        shutil.copyfile(path, folder / path.name)
    return folder / "model.py"


def build(model: Path, *options: object) -> None:
    """Build the model's image into a layout beside it."""
    run(
        *(COMMAND, "build", f"{model}:predict", "--name", "iris", "--input-type", "doubles"),
        *("--samples", model.with_name("samples.json")),
        *("--output", f"oci:{model.parent}/layout", *options),
        cwd=model.parent,
    )
