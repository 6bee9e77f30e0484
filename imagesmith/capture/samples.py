"""The samples: a JSON list of inputs, each what ``input`` takes in Clipper's REST."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.runtime.batch import InputError, frames_of

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path, label: str) -> tuple[Any, ...]:
    """Read a file of samples of this input type (``label``: bytes, integers, floats, …).

    Raises ImagesmithError (usage.samples) where the file is not there, not JSON, not a list, empty
    or holds an item of another type.
    """
    try:
        values = json.loads(path.read_bytes())
        _check(values, label)
    except OSError as fault:
        raise ImagesmithError(_bad(path, f"cannot be read: {fault.strerror}")) from fault
    except json.JSONDecodeError as fault:
        reason = f"is not JSON: {fault.msg} at line {fault.lineno}, column {fault.colno}"
        raise ImagesmithError(_bad(path, reason)) from fault
    except ValueError as fault:
        raise ImagesmithError(_bad(path, f"is not a list of {label}: {fault}")) from fault
    return tuple(values)


def _check(values: Any, label: str) -> None:
    if not isinstance(values, list):
        raise InputError(f"it holds one {type(values).__name__}")
    if not values:
        raise InputError("it is empty")
    frames_of(values, label)


def _bad(path: Path, reason: str) -> Finding:
    return error(
        "usage.samples",
        path,
        f"{path} {reason}",
        "write a JSON list with one item for each input, such as [[5.1, 3.5], [6.7, 3.1]] for"
        ' doubles or ["a text"] for strings',
    )
