"""What is published is whole, is the same every time, and harms nothing that was there."""

import json
import os
import subprocess
import tarfile

import pytest
from tiny_image import make_image

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import layout
from imagesmith.image.find import find_image
from imagesmith.publish.archive import ArchivePublisher
from imagesmith.publish.destination import destination
from imagesmith.publish.layout import LayoutPublisher, StorePublisher
from imagesmith.store import Store, sha256_file

DESTINATIONS = ["oci", "archive"]


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def inspected(reference):
    done = subprocess.run(
        ["skopeo", "inspect", reference], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_an_image_reads_back_as_it_was(store, image, tmp_path):
    for output in (f"oci:{tmp_path}/layout", f"archive:{tmp_path}/file.tar", None):
        destination(output, store).publish(image)
        found = find_image(output or "demo:1", Store(tmp_path / "other") if output else store)
        assert (found.pinned, found.config, found.layers) == (
            image.pinned,
            image.config,
            image.layers,
        )


def test_a_layout_in_another_folder_is_the_same_to_the_byte(image, tmp_path):
    for name in ("one", "two"):
        LayoutPublisher(tmp_path / name).publish(image)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_an_archive_is_the_same_to_the_byte(image, tmp_path):
    for name in ("one.tar", "two.tar"):
        ArchivePublisher(tmp_path / name).publish(image)
    assert sha256_file(tmp_path / "one.tar") == sha256_file(tmp_path / "two.tar")


def test_a_layout_holds_nothing_but_the_layout(image, tmp_path):
    LayoutPublisher(tmp_path / "layout").publish(image)
    LayoutPublisher(tmp_path / "layout").publish(image)
    names = {path.name for path in (tmp_path / "layout").iterdir()}
    assert names == {"oci-layout", "index.json", "blobs"}
    blobs = {path.name for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    assert blobs == {blob.digest.partition(":")[2] for blob in image.descriptors()}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_there_already_is_not_written_again(image, tmp_path):
    for place in (LayoutPublisher(tmp_path / "l"), ArchivePublisher(tmp_path / "a.tar")):
        place.publish(image)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if "store" not in p.parts}
    for place in (LayoutPublisher(tmp_path / "l"), ArchivePublisher(tmp_path / "a.tar")):
        place.publish(image)
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_layout_takes_a_second_image_and_a_new_one_of_the_same_name(store, image, tmp_path):
    folder = LayoutPublisher(tmp_path / "layout")
    folder.publish(image)
    folder.publish(make_image(store, "other:1", b"other"))
    newer = make_image(store, "demo:1", b"newer")
    folder.publish(newer)
    found = {i.reference: i.manifest.digest for i in layout.images(tmp_path / "layout")}
    assert set(found) == {"demo:1", "other:1"}
    assert found["demo:1"] == newer.manifest.digest


def test_a_layout_of_several_images_asks_which(store, image, tmp_path):
    folder = LayoutPublisher(tmp_path / "layout")
    folder.publish(image)
    folder.publish(make_image(store, "other:1", b"other"))
    with pytest.raises(ImagesmithError, match="several images"):
        find_image(f"oci:{tmp_path}/layout", store)
    assert find_image(f"oci:{tmp_path}/layout:other:1", store).reference == "other:1"


@pytest.mark.parametrize("scheme", DESTINATIONS)
def test_a_place_that_holds_something_else_is_left_alone(image, store, tmp_path, scheme):
    place = tmp_path / "place"
    if scheme == "oci":
        place.mkdir()
        (place / "thesis.txt").write_text("years of work")
    else:
        place.write_text("years of work")
    with pytest.raises(ImagesmithError) as stopped:
        destination(f"{scheme}:{place}", store).publish(image)
    assert stopped.value.exit_code is ExitCode.PUBLISH
    kept = place / "thesis.txt" if scheme == "oci" else place
    assert kept.read_text() == "years of work"


@pytest.mark.parametrize("scheme", DESTINATIONS)
def test_a_full_disk_leaves_nothing_half_written(image, store, tmp_path, monkeypatch, scheme):
    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImagesmithError, match="No space left") as stopped:
        destination(f"{scheme}:{tmp_path}/new", store).publish(image)
    assert stopped.value.exit_code is ExitCode.PUBLISH
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


@pytest.mark.parametrize("output", ["dist", "oci:", "archive:", "docker-daemon:x", ""])
def test_an_unknown_destination_is_a_usage_error(store, output):
    with pytest.raises(ImagesmithError) as stopped:
        destination(output, store)
    assert stopped.value.exit_code is ExitCode.USAGE


def test_a_damaged_layout_is_said_to_be_damaged(image, store, tmp_path):
    LayoutPublisher(tmp_path / "layout").publish(image)
    manifest = tmp_path / "layout/blobs/sha256" / image.manifest.digest.partition(":")[2]
    manifest.write_bytes(manifest.read_bytes().replace(b"2", b"3", 1))
    with pytest.raises(ImagesmithError, match="damaged"):
        find_image(f"oci:{tmp_path}/layout", store)


def test_an_archive_with_a_wrong_blob_is_refused(image, store, tmp_path):
    ArchivePublisher(tmp_path / "good.tar").publish(image)
    with (
        tarfile.open(tmp_path / "good.tar") as good,
        tarfile.open(tmp_path / "bad.tar", "w") as bad,
    ):
        for member in good:
            data = good.extractfile(member)
            if data and member.name.endswith(image.config_blob.digest.partition(":")[2]):
                member.name = "blobs/sha256/" + "0" * 64
            bad.addfile(member, data)
    with pytest.raises(ImagesmithError, match="expected sha256:0000"):
        find_image(f"archive:{tmp_path}/bad.tar", Store(tmp_path / "other"))


def test_an_image_that_is_nowhere_is_a_usage_error(store):
    for text in ("nothing:1", "oci:/nowhere", "archive:/nowhere.tar"):
        with pytest.raises(ImagesmithError) as stopped:
            find_image(text, store)
        assert stopped.value.exit_code is ExitCode.USAGE


def test_the_store_names_images_without_a_copy(store, image):
    StorePublisher(store).publish(image)
    assert find_image(image.pinned, store) == image


@pytest.mark.skopeo
@pytest.mark.parametrize("scheme", DESTINATIONS)
def test_skopeo_reads_and_copies_what_was_published(image, store, tmp_path, scheme):
    destination(f"{scheme}:{tmp_path}/out", store).publish(image)
    transport = {"oci": "oci", "archive": "oci-archive"}[scheme]
    source = f"{transport}:{tmp_path}/out"
    assert inspected(source)["Digest"] == image.manifest.digest
    copied = f"oci:{tmp_path}/copied:demo"
    subprocess.run(["skopeo", "copy", "-q", source, copied], check=True)
    assert inspected(copied)["Digest"] == image.manifest.digest


@pytest.mark.skopeo
def test_skopeo_reads_the_archive_as_docker_does(image, store, tmp_path):
    ArchivePublisher(tmp_path / "image.tar").publish(image)
    source = f"docker-archive:{tmp_path}/image.tar:demo:1"
    assert inspected(source)["Labels"] == {"a": "b"}
    assert len(inspected(source)["Layers"]) == len(image.layers)
