"""Several builds share one store, and what a killed one leaves is cleared away by itself."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from imagesmith.partial import clear_partial
from imagesmith.store import Store, file_whole, folder_whole


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_a_tree_that_somebody_uses_is_never_put_in_place_again(store):
    """A container may run from it: the second to ask must wait, not make it anew."""
    together, made, trees = threading.Barrier(2), [], []

    def make(folder):
        (folder / "file").write_text("content")
        made.append(folder)

    def ask():
        together.wait()
        path = store.folder("kind", "key", make)
        trees.append(path.stat().st_ino)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(trees)) == 1


def test_a_folder_takes_the_place_of_another_whole(tmp_path):
    for text in ("old", "new"):
        with folder_whole(tmp_path / "tree") as beside:
            (beside / text).write_text(text)
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_damaged_blob_is_mended_when_its_bytes_come_again(store):
    digest = store.add(b"config")
    store.path(digest).write_bytes(b"rotten")
    assert store.add(b"config") == digest
    assert store.path(digest).read_bytes() == b"config"


def test_a_fact_that_is_not_utf8_is_as_good_as_none(store):
    store.remember("kind", "key", 1)
    next(store.root.rglob("key.json")).write_bytes(b"\xff")
    assert store.recall("kind", "key") is None


WRITES = """
import os, sys, time
from contextlib import ExitStack
from pathlib import Path
from imagesmith.partial import scratch
from imagesmith.store import Store, file_whole, folder_whole

store = Store(Path(sys.argv[1]))
with ExitStack() as stack:
    for writing in (
        store.writer(),
        file_whole(store.root / "records" / "kind" / "key.json"),
        file_whole(store.root / "index.json"),
        folder_whole(store.root / "folders" / "kind" / "key"),
        scratch(store.root),
    ):
        stack.enter_context(writing)
    print("writing", flush=True)
    sys.stdin.read()
"""


@contextmanager
def writer(store):
    """Run a process that writes everything that a store holds, until it is killed."""
    argv = [sys.executable, "-c", WRITES, store.root]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as process:
        assert process.stdout.readline() == b"writing\n"
        try:
            yield process
        finally:
            process.kill()


def left_over(store):
    return [path for path in store.root.rglob("*") if ".partial-" in path.name]


def test_what_a_killed_writer_left_goes_at_once(store):
    with writer(store) as process:
        process.kill()
        process.wait()
        assert len(left_over(store)) == 7
        store.sweep()
    assert left_over(store) == []


def test_what_somebody_still_writes_stays_however_old_it_is(store):
    with writer(store):
        for path in left_over(store):
            os.utime(path, (0, 0))
        store.sweep()
        assert len(left_over(store)) == 7


def test_where_there_are_no_locks_age_tells(store, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.EOPNOTSUPP, "no locks here")

    monkeypatch.setattr("imagesmith.partial.fcntl.flock", no_locks)
    with writer(store):
        pass
    store.sweep()
    assert len(left_over(store)) == 7
    for path in left_over(store):
        os.utime(path, (0, 0))
    store.sweep()
    assert left_over(store) == []


def test_one_that_is_cleared_away_before_it_is_held_is_made_anew(tmp_path, monkeypatch):
    """A sweeper may come between the making of a partial file and its writer's lock."""
    begun, real = [], fcntl.flock

    def late(handle, kind):
        if not begun:
            begun.append(handle)
            clear_partial(tmp_path)
        return real(handle, kind)

    monkeypatch.setattr("imagesmith.partial.fcntl.flock", late)
    with file_whole(tmp_path / "file") as file:
        file.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    begun.clear()
    with folder_whole(tmp_path / "folder") as beside:
        (beside / "file").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_a_link_or_a_pipe_that_looks_like_ours_does_no_harm(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / ".a.partial-1").symlink_to(tmp_path / "mine")
    os.mkfifo(tmp_path / ".b.partial-1")
    clear_partial(tmp_path)
    assert (tmp_path / "mine").is_dir()


def test_beside_a_users_file_only_what_is_its_own_is_cleared(tmp_path):
    names = (".out.partial-1", ".out.tar", ".other.partial-1", "out.partial-1")
    for name in names:
        (tmp_path / name).write_text("x")
    clear_partial(tmp_path, "out")
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
