"""Several models at once: in one project, in two processes, and the same one twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.image import layout
from imagesmith.publish.layout import LayoutPublisher

COMMAND = Path(sys.executable).with_name("imagesmith")

pytestmark = [pytest.mark.root, pytest.mark.apt, pytest.mark.index]

MODELS = """
output = "oci:out"

[models.sums]
target = "model.py:sums"
version = "1"
samples = "samples.json"

[models.broken]
target = "model.py:broken"
samples = "samples.json"

[models.doubles]
target = "model.py:doubled"
version = "2"
samples = "samples.json"
"""
SOURCE = """
import numpy

def sums(xs):
    return [float(numpy.sum(x)) for x in xs]

def doubled(xs):
    return [2 * float(numpy.sum(x)) for x in xs]

def broken(xs):
    return 1 / 0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "imagesmith.toml").write_text(MODELS)
    (tmp_path / "model.py").write_text(SOURCE)
    (tmp_path / "samples.json").write_text("[[1.0, 2.0]]")
    return tmp_path


def test_of_three_models_the_good_two_are_built_and_the_third_is_told(imagesmith, base, folder):
    done = imagesmith("build", cwd=folder)
    assert done.returncode == 7, done.stderr
    images = {image.reference: image for image in layout.images(folder / "out")}
    assert done.stdout.splitlines() == [images["sums:1"].pinned, images["doubles:2"].pinned]
    lines = done.stderr.splitlines()
    assert all(line.startswith(("sums: ", "broken: ", "doubles: ")) for line in lines)
    assert "[verify.sample-raised]" in done.stderr
    layers = [images[name].layers[:-1] for name in ("sums:1", "doubles:2")]
    assert layers[0] == layers[1]

    again = imagesmith("build", "--json", cwd=folder)
    document = json.loads(again.stdout)
    assert document["exit"] == again.returncode == 7
    assert [model["model"] for model in document["models"]] == ["sums", "broken", "doubles"]
    assert [model["exit"] for model in document["models"]] == [0, 7, 0]
    assert document["models"][0]["image"] == images["sums:1"].pinned
    assert [found["code"] for found in document["findings"]] == ["verify.sample-raised"]
    assert document["models"][1]["findings"] == document["findings"]


def test_an_option_of_one_model_needs_a_target(imagesmith, folder):
    done = imagesmith("build", "--name", "m", "--version", "1", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--name, --version can be said of one model only" in done.stderr


def test_what_is_typed_holds_for_all(imagesmith, base, folder):
    done = imagesmith("build", "--base", "2.7", "--log-format", "json", cwd=folder)
    assert done.returncode == 6, done.stderr
    found = [json.loads(line) for line in done.stderr.splitlines()]
    told = {line["model"]: line["finding"]["code"] for line in found if "finding" in line}
    assert told == {
        "sums": "build.no-base",
        "broken": "verify.sample-raised",
        "doubles": "build.no-base",
    }


@pytest.fixture
def started(base, folder):
    """Give a function that starts a build on a store of its own, where nothing is but the base."""
    LayoutPublisher(folder / "base").publish(base)
    begun = []

    def start(function, cache):
        options = ("--name", "m", "--version", "1", "--base", f"oci:{folder}/base", "--samples")
        process = subprocess.Popen(
            [COMMAND, "build", f"model.py:{function}", *options, "samples.json"],
            cwd=folder,
            env={**os.environ, "IMAGESMITH_CACHE": str(folder / ".cache" / cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait()


def printed(process):
    """Give what a build prints that went well."""
    out, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    return out


@pytest.mark.long
@pytest.mark.parametrize("functions", [("sums", "doubled"), ("sums", "sums")])
def test_two_processes_on_one_empty_store_give_what_each_gives_alone(started, folder, functions):
    """All but the base is made by whoever comes first to it."""
    alone = [printed(started(function, f"alone-{function}")) for function in functions]
    together = [started(function, "shared") for function in functions]
    assert [printed(process) for process in together] == alone
    left = [path for path in (folder / ".cache" / "shared").rglob("*") if ".partial-" in path.name]
    assert left == []


@pytest.mark.long
def test_one_that_is_killed_while_it_makes_a_layer_holds_nobody_up(started, folder, wait_until):
    alone = printed(started("sums", "alone"))
    killed, other = (started("sums", "shared") for _ in range(2))
    locks = folder / ".cache" / "shared" / "locks"
    wait_until(lambda: [*locks.glob("layers-*")], seconds=120)
    killed.kill()
    assert printed(other) == alone
