"""A hand-written Dockerfile on BuildKit: uv installs the hashed lock, the model goes last."""

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import PROJECT
from benchmarks.peers import base
from benchmarks.peers.base import NAME, UV
from benchmarks.peers.contender import Contender
from benchmarks.tabular import Bench, ran

TITLE = f"uv {version('uv')} Dockerfile, BuildKit"
IMAGE = "peer-uv"

_DOCKERFILE = f"""FROM {NAME}
RUN --mount=from={UV},source=/uv,target=/bin/uv \\
    --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \\
    --mount=type=cache,target=/root/.cache/uv \\
    uv pip install --system --link-mode=copy --compile-bytecode --require-hashes \\
        -r /tmp/requirements.txt
COPY runtime /container/imagesmith/runtime
COPY model /model
ENV PYTHONPATH=/container CLIPPER_MODEL_PATH=/model CLIPPER_INPUT_TYPE=doubles
USER 1000:1000
ENTRYPOINT ["python", "-m", "imagesmith.runtime.closure_container"]
"""


def contenders(at: Bench, bundle: Path, requirements: Path, bases: Path) -> Iterator[Contender]:
    """Give it with nothing cached, and with the wheels in uv's own cache alone."""
    context = at.folder / IMAGE
    context.mkdir()
    (context / "Dockerfile").write_text(_DOCKERFILE)
    shutil.copyfile(requirements, context / "requirements.txt")
    shutil.copytree(bundle, context / "model")
    shutil.copytree(PROJECT / "runtime", context / "runtime")
    env = base.peers_docker(at)

    def build(*options: str) -> str:
        return ran(["docker", "build", *options, "--tag", IMAGE, "."], cwd=context, env=env)

    def nothing() -> None:
        base.nothing_but_bases(at, bases)

    def wheels() -> None:
        """Do nothing: the run before has left uv's cache full."""

    yield Contender(TITLE, IMAGE, "0.5 x", nothing, build)
    warm = f"{TITLE}, wheels cached"
    yield Contender(warm, IMAGE, "0.5 x", wheels, lambda: build("--no-cache"))
