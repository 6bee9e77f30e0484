"""A file that says what is wanted, read as the kind that its name tells."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from imagesmith.capture.environment_yml import read_environment_yml
from imagesmith.capture.pyproject_toml import read_pyproject_toml
from imagesmith.capture.requirements_txt import read_requirements
from imagesmith.capture.specification import Draft

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.capture.specification import Specification
    from imagesmith.findings import Finding

_READERS = {
    "environment*.yml": read_environment_yml,
    "environment*.yaml": read_environment_yml,
    "pyproject.toml": read_pyproject_toml,
    "*.txt": read_requirements,
}


def read_specification(path: Path) -> tuple[Specification, tuple[Finding, ...]]:
    """Read environment*.yml, pyproject.toml or a requirements file (*.txt).

    Findings have the code usage.specification, and file and line as their subject; the warning
    usage.condarc, too. Raises ImagesmithError with all of them if one is an error.
    """
    draft = Draft(os.environ)
    reader = next((read for name, read in _READERS.items() if fnmatch(path.name, name)), None)
    if reader is None:
        draft.refuse(
            path,
            f"its name does not tell what {path.name!a} is",
            "name it environment.yml, requirements.txt or pyproject.toml",
        )
    else:
        reader(path, draft)
    return draft.finish()
