"""scikit-learn and pandas in an environment of their own: the model whose images are measured."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import COMMAND, PROJECT, as_installed
from imagesmith.store import Store
from tests import engines

PACKAGES = ("cloudpickle", "pandas", "scikit-learn")
PATIENCE = 1200.0  # seconds that an engine may take on a machine whose disk is busy
KEPT = PROJECT / ".cache" / "benchmarks"
_MODEL = """
import pandas
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

data = load_iris()
model = LogisticRegression(C={parameter}, max_iter=300).fit(data.data, data.target)


def predict(inputs):
    frame = pandas.DataFrame(inputs, columns=["a", "b", "c", "d"])
    return [str(kind) for kind in model.predict(frame.to_numpy())]
"""
_SAMPLES = [[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]]


@dataclass(frozen=True)
class Bench:
    """A folder to work in, and an engine that nobody else uses."""

    folder: Path
    engine: engines.Engine

    def imagesmith(self, store: Path, *words: object, engine: bool = True) -> str:
        """Run imagesmith with a store, and give its stdout."""
        env = {**as_installed(), "IMAGESMITH_CACHE": str(store)}
        if engine:
            env["DOCKER_HOST"] = self.engine.host
        return ran([COMMAND, *words], cwd=self.folder, env=env)

    @property
    def target(self) -> tuple[object, ...]:
        """What a command is told to capture; ``bundle`` writes it."""
        named = ("model.py:predict", "--name", "tabular", "--input-type", "doubles")
        return (*named, "--samples", "samples.json", "--env", environment())

    def bundle(self, store: Path, parameter: float) -> Path:
        """Capture the model, fitted with a parameter."""
        (self.folder / "model.py").write_text(_MODEL.format(parameter=parameter))
        (self.folder / "samples.json").write_text(json.dumps(_SAMPLES))
        bundle = self.folder / f"bundle-{parameter}"
        self.imagesmith(store, "capture", *self.target, "--output", bundle)
        return bundle

    def empty(self, base: Path) -> None:
        """Leave the engine with the base alone, and nothing to write to the disk."""
        if images := self.engine.run("images", "--all", "--quiet").stdout.split():
            self.engine.run("rmi", "--force", *dict.fromkeys(images), timeout=PATIENCE)
        self.engine.run("load", "--input", base, timeout=PATIENCE)
        os.sync()


def ran(command: list[object], **options: object) -> str:
    """Run a program to its good end and give its stdout."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stderr}")
    return str(done.stdout)


def environment() -> Path:
    """Give a prefix that has the model's packages; made once."""
    prefix = KEPT / "tabular"
    if not (prefix / "whole").exists():
        shutil.rmtree(prefix, ignore_errors=True)
        ran([sys.executable, "-m", "venv", prefix])
        ran([prefix / "bin" / "pip", "install", "--quiet", *PACKAGES])
        (prefix / "whole").touch()
    return prefix


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Start an engine for a folder's benchmarks."""
    with engines.own_engine() as engine:
        yield Bench(folder, engine)


def base_archive(store: Path, folder: Path) -> Path:
    """Write what `docker load` takes of a store's base."""
    from imagesmith.image import layout
    from imagesmith.publish.archive import ArchivePublisher

    base = layout.find(store, "closure-base:3.11")
    assert base is not None
    ArchivePublisher(folder / "base.tar").publish(base)
    return folder / "base.tar"


def copied(store: Path, folder: Path) -> Path:
    """Give a copy of a store, which shares its files."""
    shutil.rmtree(folder, ignore_errors=True)
    ran(["cp", "--archive", "--link", store, folder])
    return folder


def without(store: Path, *kinds: str) -> Path:
    """Forget what of these kinds a store has made, of layers also their blobs but the base's."""
    kept = Store(store)
    for key, fact in kept.recall_all("layers").items():
        kept.path(fact["digest"]).unlink(missing_ok=True)
        kept.forget("layers", key)
    for kind in kinds:
        shutil.rmtree(store / "records" / kind, ignore_errors=True)
    shutil.rmtree(store / "folders" / "layers", ignore_errors=True)
    return store
