"""The store keeps its word: whole or not at all, and nothing under a wrong name."""

import hashlib
import multiprocessing
from pathlib import Path

import pytest

from imagesmith.partial import PARTIAL
from imagesmith.store import Store, folder_whole, hex_of, locked, write_whole


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.startswith((PARTIAL, "."))]


def test_a_blob_is_found_under_the_digest_of_its_bytes(store):
    digest = store.add(b"some bytes")
    assert digest == "sha256:" + hashlib.sha256(b"some bytes").hexdigest()
    assert store.path(digest).read_bytes() == b"some bytes"


def test_a_blob_that_is_not_the_expected_one_is_not_kept(store):
    with (
        pytest.raises(ValueError, match="expected"),
        store.writer(expected="sha256:" + "0" * 64) as blob,
    ):
        blob.write(b"other bytes")
    assert list(store.blobs.iterdir()) == []


def test_an_interrupted_blob_leaves_nothing(store):
    with pytest.raises(KeyboardInterrupt), store.writer() as blob:
        blob.write(b"half of")
        raise KeyboardInterrupt
    assert list(store.blobs.iterdir()) == []


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:../../etc/passwd", "md5:" + "0" * 64, "sha256:" + "G" * 64]
)
def test_what_is_no_digest_never_becomes_a_path(store, digest):
    with pytest.raises(ValueError, match="not a sha256"):
        store.path(digest)


def test_a_fact_is_remembered_until_it_is_forgotten(store):
    store.remember("kind", "key", {"a": 1})
    assert store.recall("kind", "key") == {"a": 1}
    assert store.recall_all("kind") == {"key": {"a": 1}}
    store.forget("kind", "key")
    assert store.recall("kind", "key") is None


def test_a_damaged_fact_is_as_good_as_none(store):
    store.remember("kind", "key", {"a": 1})
    next(store.root.rglob("key.json")).write_bytes(b'{"a":')
    assert store.recall("kind", "key") is None


def test_a_file_is_written_whole_or_left_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert left_over(tmp_path) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), folder_whole(tmp_path / "tree") as beside:
        (beside / "file").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_tree_is_made_once(store):
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("content")

    first = store.folder("kind", "key", make)
    assert store.folder("kind", "key", make) == first
    assert len(made) == 1


def test_every_sha256_has_its_hex():
    assert hex_of("sha256:" + "ab" * 32) == "ab" * 32


def _count(folder: Path, file: Path) -> None:
    for _ in range(50):
        with locked(folder):
            file.write_text(str(int(file.read_text()) + 1))


def test_a_lock_keeps_other_processes_out_and_leaves_no_file(tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "count"
    file.write_text("0")
    workers = [
        multiprocessing.get_context("spawn").Process(target=_count, args=(folder, file))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert file.read_text() == "100"
    assert list(folder.iterdir()) == []
