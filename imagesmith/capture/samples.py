"""The samples: a JSON list of inputs, each what ``input`` takes in Clipper's REST.

Where the answers are known, it is the samples.json of a bundle.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imagesmith.capture.bundle import Samples
from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.runtime.batch import InputError, frames_of

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path, label: str) -> Samples:
    """Read a file of samples of this input type (``label``: bytes, integers, floats, …).

    A list has no answers, a bundle's samples.json may have them. Raises ImagesmithError
    (usage.samples) where the file is not there, not JSON, neither of the two, empty or holds an
    item of another type.
    """
    try:
        samples = _read(json.loads(path.read_bytes()))
        frames_of(samples.inputs, label)
    except OSError as fault:
        raise ImagesmithError(_bad(path, f"cannot be read: {fault.strerror}")) from fault
    except json.JSONDecodeError as fault:
        reason = f"is not JSON: {fault.msg} at line {fault.lineno}, column {fault.colno}"
        raise ImagesmithError(_bad(path, reason)) from fault
    except RecursionError as fault:
        raise ImagesmithError(_bad(path, "is nested too deeply")) from fault
    except ValueError as fault:
        raise ImagesmithError(_bad(path, f"is not a list of {label}: {fault}")) from fault
    return samples


def _read(data: Any) -> Samples:
    if isinstance(data, dict):
        samples = Samples.from_json(data)
    elif isinstance(data, list):
        samples = Samples(tuple(data), None)
    else:
        raise InputError(f"it holds one {type(data).__name__}")
    if not samples.inputs:
        raise InputError("it is empty")
    return samples


def _bad(path: Path, reason: str) -> Finding:
    return error(
        "usage.samples",
        path,
        f"{path} {reason}",
        "write a JSON list with one item for each input, such as [[5.1, 3.5], [6.7, 3.1]] for"
        ' doubles or ["a text"] for strings',
    )
