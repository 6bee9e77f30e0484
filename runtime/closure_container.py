"""The container of a pickled Python function: what runs in an image that imagesmith builds.

``CLIPPER_MODEL_PATH`` holds func.pkl, modules/ (the function's local modules) and metadata.json:
``{"input_type": "doubles", "strings": "str", "python": "3.11", "cloudpickle": "3.1.2", ...}``.

Exits with 3 where loading needs a module that the image lacks, with 1 on any other fault.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import rpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

IMPORT_ERROR_STATUS = 3


class PythonContainer(rpc.ModelContainerBase):
    """Serves one function, which takes whatever type of input Clipper sends."""

    def __init__(self, function: Callable[[Any], Any], strings: str) -> None:
        self._function = function
        self.strings = strings

    def predict_doubles(self, inputs: Any) -> Any:
        """Answer a batch."""
        return self._function(inputs)

    predict_ints = predict_floats = predict_bytes = predict_strings = predict_doubles


def main(timers: rpc.Timers = rpc.CLIPPERS_TIMERS) -> NoReturn:
    """Load the function and serve it until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # loading, too, can be ended
    rpc.say("Starting PythonContainer container")
    folder = Path(rpc.RPCService().get_model_path())
    try:
        metadata = json.loads((folder / "metadata.json").read_bytes())
        defaults = {"CLIPPER_INPUT_TYPE": str(metadata["input_type"])}
        strings = str(metadata["strings"])
    except Exception as error:
        rpc.fail("Cannot read the model's metadata", error)
    settings = rpc.read_settings({**defaults, **os.environ})
    rpc.say("Initializing Python function container")
    rpc.serve(PythonContainer(load_function(folder), strings), settings, timers)


def load_function(folder: Path) -> Callable[[Any], Any]:
    """Unpickle a model's function, its local modules first on the path; or say why not and exit."""
    add_modules(folder)
    try:
        import cloudpickle

        with (folder / "func.pkl").open("rb") as file:
            function: Callable[[Any], Any] = cloudpickle.load(file)
    except ImportError as error:
        rpc.fail(f"Cannot import {error.name or 'a module'}", error, IMPORT_ERROR_STATUS)
    except Exception as error:
        rpc.fail("Cannot load the function", error)
    return function


def add_modules(folder: Path) -> None:
    """Let a model's local modules be imported, before any others of their names."""
    sys.path.insert(0, str(folder / "modules"))


if __name__ == "__main__":
    main()
