"""Models, containers and a frontend for the runtime's tests."""

import json

import cloudpickle
import pytest
import zmq
from rpc_peers import Container, Frontend

# The closure container's main program, with timers that suit a test.
FAST = """
import sys
from imagesmith.runtime import closure_container, rpc
closure_container.main(rpc.Timers(*map(float, sys.argv[1:])))
"""


@pytest.fixture
def frontend():
    with zmq.Context() as context:
        yield Frontend(context)


@pytest.fixture
def start(tmp_path, frontend):
    """Start a Python program as a container; ended when the test ends."""
    started = []

    def start(*argv, **environment):
        defaults = {
            "CLIPPER_MODEL_NAME": "m",
            "CLIPPER_MODEL_VERSION": "v1",
            "CLIPPER_IP": "localhost",
            "CLIPPER_PORT": str(frontend.port),
            "CLIPPER_MODEL_PATH": str(tmp_path / "model"),
            "CLIPPER_READY_FILE": str(tmp_path / "ready"),
        }
        given = {k: v for k, v in {**defaults, **environment}.items() if v is not None}
        container = Container(argv, given, tmp_path / f"log{len(started)}")
        started.append(container)
        return container

    yield start
    for container in started:
        container.process.kill()
        container.process.wait()


@pytest.fixture
def model(tmp_path):
    """Save a function as a model's folder, the way a capture does."""

    def save(function, input_type="doubles", strings="str", **modules):
        folder = tmp_path / "model"
        (folder / "modules").mkdir(parents=True)
        (folder / "func.pkl").write_bytes(cloudpickle.dumps(function))
        metadata = {"input_type": input_type, "strings": strings, "python": "3.11"}
        (folder / "metadata.json").write_text(json.dumps(metadata))
        for name, source in modules.items():
            (folder / "modules" / f"{name}.py").write_text(source)
        return folder

    return save


@pytest.fixture
def serve(start, model):
    """Start the closure container for a function."""

    def serve(function, input_type="doubles", *, heartbeat=0.2, silence=30.0, **options):
        model(function, input_type, options.pop("strings", "str"), **options.pop("modules", {}))
        return start("-c", FAST, str(heartbeat), str(silence), **options)

    return serve
