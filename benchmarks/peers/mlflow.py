"""MLflow: `mlflow models build-docker` with its own Python base image, no environment in it."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import base
from benchmarks.peers.contender import Contender
from benchmarks.tabular import Bench, ran

VERSION = "3.17.2"
IMAGE = "peer-mlflow"

_SAVE = """
import sys

import mlflow.pyfunc


class Tabular(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        import cloudpickle

        sys.path.insert(0, context.artifacts["bundle"] + "/modules")
        with open(context.artifacts["bundle"] + "/func.pkl", "rb") as file:
            self.predict_all = cloudpickle.load(file)

    def predict(self, context, model_input, params=None):
        return self.predict_all(model_input.to_numpy())


bundle, out, *pins = sys.argv[1:]
mlflow.pyfunc.save_model(
    out, python_model=Tabular(), artifacts={"bundle": bundle}, pip_requirements=pins
)
"""


def contenders(at: Bench, bundle: Path, requirements: Path, bases: Path) -> Iterator[Contender]:
    """Give it, with the model saved in MLflow's form."""
    programs = base.peers_environment("mlflow", f"mlflow=={VERSION}", "cloudpickle")
    saved = at.folder / IMAGE
    save = [programs / "python", "-c", _SAVE, bundle, saved, *base.pins(requirements)]
    ran(save, cwd=at.folder)
    words = ("models", "build-docker", "--model-uri", saved, "--name", IMAGE)
    command = [programs / "mlflow", *words, "--env-manager", "local"]
    env = base.peers_docker(at)
    env["PATH"] += f":{programs}"

    def nothing() -> None:
        base.nothing_but_bases(at, bases)

    def build() -> str:
        return ran(command, cwd=at.folder, env=env)

    yield Contender(f"MLflow {VERSION}", IMAGE, "0.1 x", nothing, build)
