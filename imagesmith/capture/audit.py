"""Whether a bundle's pickle is what its capture says of it; it is read, and never loaded."""

from __future__ import annotations

import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from imagesmith.capture.agent import BadPickle, is_standard, read_pickle
from imagesmith.findings import Finding, ImagesmithError, error

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.capture.bundle import Capture


def audit(pickle: Path, capture: Capture) -> None:
    """Check that a file is a whole pickle, which names no module that its capture does not list.

    Raises ImagesmithError (capture.bad-pickle).
    """
    try:
        named = {what for kind, what in read_pickle(str(pickle)) if kind == "module"}
    except BadPickle as fault:
        raise ImagesmithError(_bad_pickle(pickle, str(fault))) from fault
    if unlisted := sorted(module for module in named if not _is_listed(module, capture)):
        reason = f"it names modules that the capture does not list: {', '.join(unlisted)}"
        raise ImagesmithError(_bad_pickle(pickle, reason))


def _is_listed(module: str, capture: Capture) -> bool:
    # Which modules are of the standard library, only that version of Python can say.
    if capture.python_minor != "{}.{}".format(*sys.version_info):
        return True
    top = module.partition(".")[0]
    local = (PurePosixPath(file).parts[1:2] for file in capture.files)
    stems = (part.partition(".")[0] for parts in local for part in parts)
    installed = (name.partition(".")[0] for name in capture.modules)
    return is_standard(top) or top in {"cloudpickle", *stems, *installed}


def _bad_pickle(pickle: Path, reason: str) -> Finding:
    return error(
        "capture.bad-pickle",
        pickle,
        f"{pickle} is not a function that imagesmith captured: {reason}",
        "capture it again, with `imagesmith capture TARGET --name N -o BUNDLE`",
    )
