"""A small image of the tests' own, which no container could run but every tool can read."""

from pathlib import Path

import pytest

from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member, link_member
from imagesmith.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def make_image(store: Store, reference: str = "demo:1", text: bytes = b"model") -> oci.Image:
    layers = (
        write_layer(store, [file_member("etc/base", b"base")], "base"),
        write_layer(store, [file_member("model/func.pkl", text), link_member("ready", "/x")], "m"),
    )
    config = oci.ImageConfig(
        env={"PATH": "/usr/bin"},
        entrypoint=("/bin/true",),
        user="1000:1000",
        labels={"a": "b"},
        exposed_ports=("1390/tcp",),
        healthcheck={"Test": ["CMD", "test", "-f", "/ready"]},
    )
    return oci.assemble(store, reference, layers, config, "1970-01-01T00:00:00Z")


@pytest.fixture
def image(store: Store) -> oci.Image:
    return make_image(store)
