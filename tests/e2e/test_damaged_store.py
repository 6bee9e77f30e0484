"""What is damaged in the store is found before it is published, named, and made again."""

from dataclasses import replace

import pytest
from engines import docker_registry
from killing import Desk, damaged, images

from imagesmith.findings import ExitCode
from imagesmith.image import layout

pytestmark = [pytest.mark.root, pytest.mark.apt, pytest.mark.index]


@pytest.fixture(scope="module")
def desk(base, tmp_path_factory):
    return Desk.make(tmp_path_factory.mktemp("damaged") / "desk", base)


@pytest.fixture(scope="module")
def build(desk):
    """Give a function that builds into a layout, and gives the reference and what was told."""

    def run(place):
        target = ("fixtures/functions/echo.py:sums", "--name", "sums", "--version", "1")
        output = ("--no-verify", "--output", f"oci:{desk.root}/{place}", "--json")
        done = desk.start("build", *target, *output, stdout=-1, stderr=-1)
        out, err = done.communicate(timeout=300)
        assert done.returncode == 0, err
        return out, err

    return run


def spoil(path):
    """Change one byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)


def test_every_layer_wheel_and_byte_code_is_made_again_to_the_same_digest(desk, build, base):
    first, _ = build("first")
    theirs = {base.blob(blob.digest).name for blob in base.descriptors()}
    blobs = [path for path in desk.store.blobs.iterdir() if path.name not in theirs]
    for path in blobs:
        spoil(path)
    again, told = build("again")
    assert again == first
    assert "numpy" in told
    assert "it is made again" in told
    assert damaged(desk.store.root) == damaged(desk.root / "again") == []
    assert images(desk.root / "again") == images(desk.root / "first")


@pytest.mark.long
def test_a_damaged_base_is_made_again(desk, build, base):
    first, _ = build("before")
    spoil(desk.store.path(base.layers[0].blob.digest))
    again, told = build("after")
    assert again == first
    assert "it is made again" in told
    assert damaged(desk.store.root) == damaged(desk.root / "after") == []


@pytest.mark.registry
@pytest.mark.long
def test_what_a_push_finds_damaged_the_next_build_makes_again(desk, build):
    build("whole")
    (image,) = layout.images(desk.root / "whole")
    layout.put(desk.store.root, replace(image, blobs=desk.store.blobs))
    spoil(desk.store.path(image.layers[-1].blob.digest))
    with docker_registry(desk.root / "registry") as registry:
        push = ("push", image.reference, f"{registry.address}/sums:1")
        done = desk.start(*push, stderr=-1)
        _, told = done.communicate(timeout=60)
        assert done.returncode == ExitCode.PUBLISH
        assert "model" in told
        assert "build again" in told
        build("mended")
        assert desk.run(*push)[0].endswith(image.manifest.digest)
