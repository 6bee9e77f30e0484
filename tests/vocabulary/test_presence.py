"""Commands use the store side by side; whoever clears it has it alone; the killed hold nothing."""

import os
import subprocess
import sys
import threading
import time

import pytest

from imagesmith.presence import alone, in_use, use_file, use_folder
from imagesmith.store import Store

DAY = 24 * 3600
HOLD = """
import sys
from pathlib import Path
from imagesmith.presence import in_use
with in_use(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def holder(store):
    """Give another process that uses the store; a line on its stdin ends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def nobody_there():
    raise AssertionError("somebody uses the store")


def test_users_do_not_wait_for_each_other(store, holder):
    with in_use(store.root), in_use(store.root):
        pass


def test_whoever_wants_it_alone_says_that_it_waits_and_does(store, holder):
    order = []

    def wait():
        order.append("waiting")
        holder.communicate("go on\n")

    with alone(store.root, wait):
        order.append("alone")
    assert order == ["waiting", "alone"]


def test_users_wait_for_whoever_has_it_alone(store):
    order = []

    def begin():
        with in_use(store.root):
            order.append("used")

    user = threading.Thread(target=begin)
    with alone(store.root, nobody_there):
        user.start()
        order.append("alone")
    user.join()
    assert order == ["alone", "used"]


def test_a_killed_user_holds_nothing(store, holder):
    holder.kill()
    holder.wait()
    with alone(store.root, nobody_there):
        pass


def test_what_a_user_has_started_holds_nothing(store):
    with in_use(store.root):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with alone(store.root, nobody_there):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_store_that_cannot_be_written_can_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with in_use(tmp_path / "file" / "store"):
        pass


def age(path, days):
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path.stat().st_mtime


def test_a_use_is_noted_once_a_day(store):
    digest = store.add(b"blob")
    store.remember("kind", "key", {"a": 1})
    tree = store.folder("trees", "key", lambda _: None)
    (record,) = store.root.glob("records/kind/key.json")
    looks = {
        store.path(digest): lambda: store.has(digest),
        record: lambda: store.recall("kind", "key"),
        tree: lambda: store.folder("trees", "key", lambda _: None),
    }
    for path, look in looks.items():
        early = age(path, 0.5)
        look()
        assert path.stat().st_mtime == early
        late = age(path, 1.5)
        look()
        assert path.stat().st_mtime > late + DAY


def test_what_is_not_there_is_not_used(tmp_path):
    (tmp_path / "file").write_text("")
    assert (use_file(tmp_path / "none"), use_file(tmp_path / "file" / "x")) == (False, False)
    assert (use_file(tmp_path), use_folder(tmp_path)) == (False, True)
    assert (use_file(tmp_path / "file"), use_folder(tmp_path / "file")) == (True, False)
