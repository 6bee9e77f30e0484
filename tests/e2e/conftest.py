"""The command line as a user has it: a process, its exit status, stdout and stderr."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("imagesmith")
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def imagesmith(store):
    """Give a function that runs a command, ``under`` another if that is given.

    It starts in the project unless told otherwise.
    """

    def run(*arguments, cwd=PROJECT, under=(), **environment):
        env = {**os.environ, "IMAGESMITH_CACHE": str(store.root), **environment}
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            env.pop(name, None)
        return subprocess.run(
            [*under, COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture
def build(imagesmith, base, tmp_path):
    """Give a function that builds a target into an OCI layout and gives (process, layout)."""

    def run(target, *options, name="m", output="layout", **more):
        place = tmp_path / output
        done = imagesmith(
            "build", target, "--name", name, "--output", f"oci:{place}", *options, **more
        )
        return done, place

    return run


def write_json(path, text):
    path.write_text(text)
    return path


@pytest.fixture
def samples(tmp_path):
    """Give a function that writes a samples file."""

    def write(text):
        return write_json(tmp_path / "samples.json", text)

    return write
