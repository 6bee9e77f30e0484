"""Two real processes: one prunes while the other is in the middle of its work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.store import Store

COMMAND = Path(sys.executable).with_name("imagesmith")
# Its import is the middle of a command: it says that it has come there, and waits for a file.
TARGET = """
import pathlib, time
here = pathlib.Path({here!r})
(here / "reached").touch()
while not (here / "go").exists():
    time.sleep(0.02)

def predict(inputs):
    return [0 for _ in inputs]
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def start(store, tmp_path):
    """Give a function that starts the command with the test's store; all are ended at last."""
    started = []

    def begin(*arguments):
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=tmp_path,
            env={**os.environ, "IMAGESMITH_CACHE": str(store.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def working(start, tmp_path, wait_until):
    """Give a command that is in the middle of its work."""
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "target.py").write_text(TARGET.format(here=str(here)))
    process = start("capture", "target.py:predict", "--name", "m", "-o", "bundle")
    wait_until((here / "reached").exists, seconds=60)
    yield process
    (here / "go").touch()
    process.wait(60)


def test_what_a_command_has_looked_up_is_there_until_it_ends(store, start, working, tmp_path):
    digest = store.add(b"looked up by the command, which counts on it")
    pruning = start("cache", "prune", "--max-size", "0B")
    assert "waiting" in pruning.stderr.readline()
    assert store.path(digest).exists()
    assert start("base", "list").wait(60) == 0  # nobody waits for what only waits itself
    assert pruning.poll() is None
    (tmp_path / "here" / "go").touch()
    assert working.wait(60) == 0
    assert pruning.wait(60) == 0
    assert not store.path(digest).exists()
    assert (tmp_path / "bundle").is_dir()


def test_after_a_killed_command_pruning_waits_for_nobody(start, working):
    working.kill()
    working.wait()
    pruning = start("cache", "prune", "--json")
    out, err = pruning.communicate(timeout=60)
    assert pruning.returncode == json.loads(out)["exit"] == 0
    assert "waiting" not in err
