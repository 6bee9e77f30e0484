"""What the tests of building wheels share: a store that has built nothing, and sdists by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx
import pytest
from source_archives import tarred

from imagesmith.image import layout
from imagesmith.progress import Silent
from imagesmith.resolve.platform import Target
from imagesmith.resolve.uv import UvSolver
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.store import Store
from imagesmith.wheels.build import WheelBuilder
from imagesmith.wheels.source import Source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sdist():
    """Give a function that makes the source archive of these files in a store."""

    def make(store, files, name="thing", version="1.0", **more):
        digest = store.add(tarred(files, f"{name}-1.0/"))
        return Source(name, version, f"{name}-1.0.tar.gz", digest, **more)

    return make


@pytest.fixture(scope="session")
def shop_of(store, toolchain):
    """Give a function that opens an empty store which has the toolchain, by links to the real."""

    def open_store(root: Path) -> Store:
        shop = Store(root)
        shop.blobs.mkdir(parents=True)
        for blob in toolchain.descriptors():
            shop.path(blob.digest).symlink_to(store.path(blob.digest))
        layout.put(root, toolchain)
        (root / "folders").mkdir()
        (store.root / "folders" / "layers").mkdir(parents=True, exist_ok=True)
        (root / "folders" / "layers").symlink_to((store.root / "folders" / "layers").resolve())
        return shop

    return open_store


@pytest.fixture(scope="session")
def shop(shop_of, tmp_path_factory):
    """Give the store that the builds of this run share."""
    return shop_of(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def builder_of():
    def make(store, **changed):
        target = changed.pop("target", Target("3.11", "2.36"))
        parts = {"runner": RootfsRunner(store), "solver": UvSolver(), "progress": Silent()}
        return WheelBuilder(target, store=store, **{**parts, **changed})

    return make


@pytest.fixture(scope="session")
def build(builder_of, shop):
    """Give a function that builds a source in the shared store."""
    return builder_of(shop).build


@pytest.fixture(scope="session")
def index_sdist():
    """Give a function that brings a release's sdist from the package index into a store."""

    def bring(store, name, version):
        with httpx.Client(follow_redirects=True, timeout=30) as http:
            page = http.get(f"https://pypi.org/simple/{name}/").raise_for_status()
            ending = rf"[^\"]*/[\w.]+-{re.escape(version)}\.tar\.gz"
            url, hexed = re.search(rf'"({ending})#sha256=([0-9a-f]+)"', page.text).groups()
            data = http.get(urljoin(str(page.url), url)).raise_for_status().content
        digest = store.add(data)
        assert digest == f"sha256:{hexed}"
        return Source(name, version, url.rpartition("/")[2], digest)

    return bring
