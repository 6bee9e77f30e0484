"""`base list` and `base build`: what each base is, and which kinds of them there are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.image import layout, oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member
from imagesmith.store import Store

COMMAND = Path(sys.executable).with_name("imagesmith")


@pytest.fixture
def run(tmp_path):
    """Give a function that runs one of base's commands on a store of the test's own."""
    env = {**os.environ, "IMAGESMITH_CACHE": str(tmp_path)}

    def base(*arguments):
        argv = [COMMAND, "base", *arguments]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    return base


@pytest.fixture
def listed(tmp_path):
    """Give a base that is in the store, as far as listing can tell."""
    store = Store(tmp_path)
    layer = write_layer(store, [file_member("x", bytes(2_000_000))], "base")
    labels = {oci.LABEL_BASE: "closure", oci.LABEL_PYTHON: "3.11", oci.LABEL_GLIBC: "2.36"}
    config = oci.ImageConfig(labels=labels)
    image = oci.assemble(store, "closure-base:3.11", (layer,), config, "1970-01-01T00:00:00Z")
    layout.put(store.root, image)
    return image


def test_a_list_says_python_glibc_and_size_of_each(run, listed):
    line = run("list").stdout
    assert line.split("  ") == [listed.pinned, "Python 3.11", "glibc 2.36", "2.0 MB\n"]


def test_and_the_same_as_data(run, listed):
    (found,) = json.loads(run("list", "--json").stdout)["bases"]
    size = found.pop("size")
    assert found == {
        "base": listed.pinned,
        "kind": "closure",
        "python": "3.11",
        "glibc": "2.36",
    }
    assert 2_000_000 < size < 2_020_000


@pytest.mark.parametrize(
    "wrong", [("--kind", "java"), ("--kind", "pyspark", "--from", "oci:elsewhere"), ()]
)
def test_a_kind_that_cannot_be_made_is_a_matter_of_usage(run, wrong):
    done = run("build", *wrong)
    assert done.returncode == 2
