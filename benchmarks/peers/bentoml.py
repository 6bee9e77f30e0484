"""BentoML: `bentoml build`, then `bentoml containerize`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import base
from benchmarks.peers.base import NAME
from benchmarks.peers.contender import Contender
from benchmarks.tabular import Bench, ran

VERSION = "1.4.40"
IMAGE = "peer-bentoml"

_SERVICE = """
import sys
from pathlib import Path

import bentoml

_MODEL = Path(__file__).parent / "model"


@bentoml.service(name="tabular")
class Tabular:
    def __init__(self) -> None:
        import cloudpickle

        sys.path.insert(0, str(_MODEL / "modules"))
        self.predict_all = cloudpickle.loads((_MODEL / "func.pkl").read_bytes())

    @bentoml.api
    def predict(self, inputs: list[list[float]]) -> list[str]:
        import numpy

        return self.predict_all(numpy.array(inputs))
"""


def contenders(at: Bench, bundle: Path, requirements: Path, bases: Path) -> Iterator[Contender]:
    """Give it, with the service's project written."""
    project = at.folder / IMAGE
    project.mkdir()
    (project / "service.py").write_text(_SERVICE)
    shutil.copytree(bundle, project / "model")
    packages = [*base.pins(requirements), f"bentoml=={VERSION}"]
    facts = {
        "service": "service:Tabular",
        "include": ["*.py", "model/"],
        "python": {"packages": packages, "lock_packages": False},
        "docker": {"base_image": NAME},
    }
    (project / "bentofile.yaml").write_text(json.dumps(facts))  # JSON is YAML
    programs = base.peers_environment("bentoml", f"bentoml=={VERSION}", "cloudpickle")
    home = at.folder / "bentoml"
    env = {**base.peers_docker(at), "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "true"}

    def nothing() -> None:
        base.nothing_but_bases(at, bases)
        shutil.rmtree(home, ignore_errors=True)

    def build() -> None:
        words = (["build", "--version", "1"], ["containerize", "tabular:1", "--image-tag", IMAGE])
        for command in words:
            ran([programs / "bentoml", *command], cwd=project, env=env)

    yield Contender(f"BentoML {VERSION}", IMAGE, "0.1 x", nothing, build)
