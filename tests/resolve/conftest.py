"""What the tests of resolving share: a world without configuration, an index, captures by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from local_index import local_index

from imagesmith.capture.bundle import Capture
from imagesmith.capture.environment import Distribution, Environment
from imagesmith.store import Store


@pytest.fixture
def hermetic(tmp_path, monkeypatch):
    """Hide the user's and the machine's configuration of pip, uv and the network."""
    for name in os.environ:
        if name.upper().startswith(("PIP_", "UV_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.delenv("NETRC", raising=False)
    return monkeypatch


@pytest.fixture(params=["html", "json"])
def any_index(request, hermetic, tmp_path):
    """An index that speaks HTML, then one that speaks JSON."""
    with local_index(tmp_path / "wheels", speaks_json=request.param == "json") as index:
        runtime_of(index)
        yield index


@pytest.fixture
def index(hermetic, tmp_path):
    """An index with what the runtime needs."""
    with local_index(tmp_path / "wheels") as index:
        runtime_of(index)
        yield index


def runtime_of(index) -> None:
    versions = {"cloudpickle": "3.1.2", "numpy": "2.0.0", "prometheus-client": "0.20.0"}
    for name, version in {**versions, "pyzmq": "26.0.0"}.items():
        index.wheel(name, version)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def distribution():
    def make(name, version="1.0", requires=(), modules=None, **more) -> Distribution:
        modules = (name.replace("-", "_"),) if modules is None else tuple(modules)
        said = {"direct_url": None, "editable": False, "installer": "pip", "requested": True}
        said["size"] = 1000
        return Distribution(name, version, tuple(requires), modules, **{**said, **more})

    return make


@pytest.fixture
def capture():
    def make(*distributions, modules=(), cloudpickle="3.1.2", python="3.11.7") -> Capture:
        environment = Environment(
            python=python,
            implementation="cpython",
            platform="macosx-14.0-arm64",
            glibc=None,
            kind="venv",
            distributions=distributions,
        )
        return Capture(
            name="model",
            version="1",
            target="model.py:predict",
            input_type="doubles",
            strings="str",
            python=python,
            cloudpickle=cloudpickle,
            modules=tuple(modules),
            environment=environment,
            samples=None,
            files={},
            folder=Path("bundle"),
            digest="sha256:" + "0" * 64,
        )

    return make
