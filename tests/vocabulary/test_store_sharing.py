"""Several builds share one store, and what a killed one leaves is cleared away by itself."""

import os
import threading

import pytest

from imagesmith import store as stores
from imagesmith.store import Store, clear_partial, file_whole, folder_whole


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


def write_and_die(store):
    for context in (
        store.writer(),
        file_whole(store.root / "records" / "kind" / "key.json"),
        file_whole(store.root / "index.json"),
        folder_whole(store.root / "folders" / "kind" / "key"),
    ):
        with pytest.raises(KeyboardInterrupt), context:
            raise KeyboardInterrupt


def left_over(store):
    return [path for path in store.root.rglob("*") if ".partial-" in path.name]


def test_what_killed_writers_left_goes_after_a_day_and_not_before(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(stores.Path, "unlink", lambda *_, **__: None)
        patch.setattr(stores.shutil, "rmtree", lambda *_, **__: None)
        write_and_die(store)
    assert len(left_over(store)) == 4
    store.sweep()
    assert len(left_over(store)) == 4
    for path in left_over(store):
        os.utime(path, (0, 0))
    store.sweep()
    assert left_over(store) == []


def test_beside_a_users_file_only_what_is_its_own_is_cleared(tmp_path):
    names = (".out.partial-1", ".out.tar", ".other.partial-1", "out.partial-1")
    for name in names:
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (0, 0))
    clear_partial(tmp_path, "out")
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
