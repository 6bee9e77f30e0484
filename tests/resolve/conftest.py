"""What the tests of resolving share: a world without configuration, an index, captures by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from local_channel import PY311, LocalChannel
from local_index import NoMaker, local_index

from imagesmith.capture.bundle import Capture
from imagesmith.capture.environment import CondaPackage, Distribution, Environment
from imagesmith.findings import stop_on_errors
from imagesmith.progress import Silent
from imagesmith.resolve import Sources, Target, Wanted, Wish, resolve
from imagesmith.resolve.uv import UvSolver
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


@pytest.fixture
def lock_of(store):
    def run(captured, index_url, *, solver=None, store=store, glibc="2.36"):
        resolved = resolve(
            Wanted(captured.environment, captured.modules, captured.cloudpickle),
            Target("3.11", glibc),
            wish=Wish(),
            sources=Sources(index_url),
            solver=solver or UvSolver(),
            maker=NoMaker(),
            store=store,
            progress=Silent(),
        )
        stop_on_errors(resolved.findings)
        return resolved.lock, resolved.findings

    return run


@pytest.fixture
def channel(tmp_path):
    made = LocalChannel(tmp_path / "channel")
    made.add_python()
    for name in ("cloudpickle", "numpy", "prometheus_client", "pyzmq"):
        made.add(name, "1.0", PY311)
    return made


@pytest.fixture
def package(channel):
    def make(name, version="1.0", *requires, subdir="osx-arm64", **more):
        said = {
            "build": "0",
            "channel": channel.url,
            "distributions": (),
            "modules": (),
            "requested": name,
            "size": 1_000_000,
            **more,
        }
        return CondaPackage(name=name, version=version, subdir=subdir, requires=requires, **said)

    return make


@pytest.fixture
def resolved(channel, index, store):
    """Resolve these captured packages; needed is what was installed by name."""

    def run(*packages, wish=None, store=store, modules=None, distributions=(), **sources):
        recorded = sources.pop("recorded", {})
        environment = Environment(
            python="3.11.7",
            implementation="cpython",
            platform="macosx-14.0-arm64",
            glibc=None,
            kind="conda",
            distributions=tuple(distributions),
            packages=tuple(packages),
            channels=(channel.url,),
        )
        return resolve(
            Wanted(environment, modules, recorded=recorded),
            Target("3.11", "2.36"),
            wish=wish or Wish(),
            sources=Sources(index.url, **sources),
            solver=UvSolver(),
            maker=NoMaker(),
            store=store,
            progress=Silent(),
        )

    return run
