"""imagesmith cache, as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.store import Store

COMMAND = Path(sys.executable).with_name("imagesmith")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def cache(store):
    def run(*arguments):
        return subprocess.run(
            [COMMAND, "cache", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "IMAGESMITH_CACHE": str(store.root)},
        )

    return run


def test_alone_it_lists_what_is_in_the_store(cache, store):
    store.add(bytes(2000))
    done = cache()
    assert done.returncode == 0
    assert "wheels and packages" in done.stdout
    assert done.stdout == cache("list").stdout
    assert json.loads(cache("list", "--json").stdout)["size"] == 2000


def test_prune_says_what_is_gone(cache, store):
    digest = store.add(bytes(2000))
    os.utime(store.path(digest), (0, 0))
    dry = json.loads(cache("prune", "--dry-run", "--json").stdout)
    assert (dry["removed"], dry["left"], dry["dry_run"]) == (2000, 0, True)
    assert store.path(digest).exists()
    done = cache("prune")
    assert "2.0 kB" in done.stdout
    assert not store.path(digest).exists()


def test_with_a_size_alone_nothing_goes_for_its_age(cache, store):
    digest = store.add(bytes(2000))
    os.utime(store.path(digest), (0, 0))
    assert cache("prune", "--max-size", "2kB").returncode == 0
    assert store.path(digest).exists()


def test_what_is_no_age_is_a_usage_error(cache):
    assert cache("prune", "--older-than", "30").returncode == 2
