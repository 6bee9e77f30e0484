"""When two answers are the same: equal as text, or equal through JSON up to a tolerance."""

from __future__ import annotations

import json
import math
from typing import Any


def same(expected: str, got: str, rtol: float) -> bool:
    """Say whether two answers agree; numbers may differ by ``rtol`` of the larger."""
    if expected == got:
        return True
    try:
        return _same_value(json.loads(expected), json.loads(got), rtol)
    except (ValueError, OverflowError, RecursionError):
        return False  # not JSON, or numbers and nestings that nothing can be said of


def _same_value(expected: Any, got: Any, rtol: float) -> bool:
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(
            _same_value(a, b, rtol) for a, b in zip(expected, got, strict=True)
        )
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(
            _same_value(value, got[name], rtol) for name, value in expected.items()
        )
    if _is_number(expected) and _is_number(got):
        both_nan = math.isnan(expected) and math.isnan(got)
        return both_nan or math.isclose(expected, got, rel_tol=rtol)
    return type(expected) is type(got) and expected == got


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
