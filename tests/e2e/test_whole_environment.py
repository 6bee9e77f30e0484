"""What a function needs, against all that is installed where it was written: jupyter, for one."""

import json
import re
import subprocess
import sys

import pytest
from uv import find_uv_bin

pytestmark = [pytest.mark.long, pytest.mark.apt, pytest.mark.index, pytest.mark.root]

IRIS = (
    *("fixtures/iris/model.py:predict", "--version", "1", "--input-type", "doubles"),
    *("--samples", "fixtures/iris/samples.json"),
)
INSTALLED = {"jupyterlab", "notebook", "ipykernel", "ipython"}


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    """Make a notebook's environment, of what runs on any Python 3.11, so also on the base's."""
    venv = tmp_path_factory.mktemp("notebook") / "venv"
    uv, python = find_uv_bin(), venv / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    wanted = ("--python-version", "3.11", "jupyter", "scikit-learn")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *wanted], check=True)
    return venv


def test_the_image_of_all_that_is_installed_answers_too_and_is_the_larger_one(
    build, imagesmith, venv
):
    places, megabytes = {}, {}
    for deps in ("needed", "all"):
        done, places[deps] = build(*IRIS, "--env", venv, "--deps", deps, output=deps)
        assert done.returncode == 0, done.stderr
        assert "8 answers, 8 as the function's own" in done.stderr
        said = re.search(r"^build: +\d+ layers, ([\d.]+) MB compressed", done.stderr, re.MULTILINE)
        megabytes[deps] = float(said[1])
    print(", ".join(f"--deps {deps}: {size} MB" for deps, size in megabytes.items()))
    assert megabytes["needed"] < megabytes["all"]
    between = imagesmith("diff", f"oci:{places['needed']}", f"oci:{places['all']}", "--json")
    changes = json.loads(between.stdout)["changes"]
    assert {change["kind"] for change in changes} == {"added"}
    assert {change["name"] for change in changes} >= INSTALLED
