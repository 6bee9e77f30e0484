"""A batch's three forms: JSON values, the raw bytes of each input, what the function receives.

Source: Clipper's REST inputs and the arrays that its Python container hands to a model.

This file is also loaded by its path, alone, in a user's interpreter: it imports nothing of
imagesmith, numpy only where an array is made, and runs on Python 3.8.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

# The item of an input, as numpy and Clipper's wire know it: always little-endian.
_ITEMS = {"bytes": "<i1", "integers": "<i4", "floats": "<f4", "doubles": "<f8"}

_FAULTS_SHOWN = 3


class InputError(ValueError):
    """Some inputs are not what Clipper takes for this type; the message is one line."""


class OutputError(ValueError):
    """The function's answers are not one for each input; the message is one line.

    ``kind`` is "not-a-list", "wrong-count" or "not-text".
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def frames_of(values: Sequence[Any], label: str) -> list[bytes]:
    """Turn inputs, as Clipper's REST takes them in JSON, into the raw bytes of each.

    ``label`` is one of bytes (a value is a base64 string), integers, floats, doubles (a value is
    an array) and strings. Raises InputError, which names the first of the bad inputs by index.
    Empty inputs are bad ones: they wedge a replica for ever.
    """
    encoded = [_encoded(value, _ENCODERS[label]) for value in values]
    faults = [f"input {i}: {bad}" for i, bad in enumerate(encoded) if isinstance(bad, InputError)]
    if faults:
        unsaid = len(faults) - _FAULTS_SHOWN
        more = [f"and {unsaid} more"] if unsaid > 0 else []
        raise InputError("; ".join(faults[:_FAULTS_SHOWN] + more))
    return [frame for frame in encoded if isinstance(frame, bytes)]


def batch_of(frames: Sequence[bytes], label: str, strings: str = "str") -> np.ndarray[Any, Any]:
    """Turn the raw bytes of each input into the one array that a prediction function receives.

    Inputs of n equal lengths k give an (n, k) array of int8 (for bytes), int32, float32 or
    float64; other lengths an (n,) object array of 1-D arrays. All are writable, and nobody
    writes to them later. Strings give an (n,) object array of str, or of bytes if ``strings`` is
    "bytes". Raises InputError for a frame that is no whole number of items.
    """
    import numpy as np

    if label == "strings":
        # Clipper's REST side does not check its utf-8, and one bad query must not end a replica.
        as_bytes = strings == "bytes"
        return _objects(frames if as_bytes else [f.decode("utf-8", "replace") for f in frames])
    item = np.dtype(_ITEMS[label])
    lengths = {len(frame) for frame in frames}
    for length in lengths:
        if length % item.itemsize:
            raise InputError(f"an input of {length} bytes is no whole number of {label}")
    if len(lengths) != 1:
        return _objects([np.frombuffer(bytearray(frame), item) for frame in frames])
    # A bytearray of our own: writable, and the batch's one copy.
    items = np.frombuffer(bytearray().join(frames), item)
    return items.reshape(len(frames), lengths.pop() // item.itemsize)


def outputs_of(answers: Any, count: int) -> list[str]:
    """Turn what a function returned for ``count`` inputs into Clipper's texts, one for each.

    Any iterable will do; bytes are read as utf-8, everything else goes through str().
    Raises OutputError where that does not give one text for each input.
    """
    if isinstance(answers, (str, bytes)):
        raise _no_list("a string" if isinstance(answers, str) else "bytes")
    try:
        iterator = iter(answers)
    except TypeError:
        what = "None" if answers is None else f"a single {type(answers).__name__}"
        raise _no_list(what) from None
    texts = [_text(index, answer) for index, answer in enumerate(iterator)]
    if len(texts) != count:
        message = f"the function returned {len(texts)} answers for {count} inputs"
        raise OutputError("wrong-count", message)
    return texts


def _no_list(what: str) -> OutputError:
    message = f"the function returned {what}; it must return a list with one answer for each input"
    return OutputError("not-a-list", message)


def _text(index: int, answer: Any) -> str:
    if not isinstance(answer, bytes):
        return str(answer)
    try:
        return answer.decode()
    except UnicodeDecodeError:
        message = f"answer {index} is bytes that are not utf-8 text"
        raise OutputError("not-text", message) from None


def _objects(items: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Give a 1-D object array of these items, whatever they are made of."""
    import numpy as np

    batch = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        batch[index] = item
    return batch


def _encoded(value: Any, encode: Callable[[Any], bytes]) -> bytes | InputError:
    try:
        return encode(value)
    except InputError as error:
        return error


def _doubles(value: Any) -> bytes:
    return _packed("d", _reals(value))


def _floats(value: Any) -> bytes:
    try:
        return _packed("f", _reals(value))
    except OverflowError:
        raise InputError("a number is beyond the range of 32-bit floats") from None


def _integers(value: Any) -> bytes:
    items: list[Any] = _filled(value, list, "array")
    # A bool packs as well, but is no number in JSON.
    if set(map(type, items)) == {int}:
        try:
            return _packed("i", items)
        except struct.error:  # one is beyond 32 bits
            pass
    raise _culprit(items, _integer_fault)


def _string(value: Any) -> bytes:
    try:
        text: str = _filled(value, str, "string")
        return text.encode()
    except UnicodeEncodeError:
        raise InputError("the string has lone surrogates, which utf-8 cannot hold") from None


def _bytes(value: Any) -> bytes:
    text = _filled(value, str, "base64 string")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InputError("the string is not base64") from None


def _packed(code: str, items: list[Any]) -> bytes:
    return struct.pack(f"<{len(items)}{code}", *items)


def _reals(value: Any) -> list[float]:
    """Give the array if all of its items are finite floats."""
    items: list[Any] = _filled(value, list, "array")
    if set(map(type, items)) == {float} and _all_finite(items):
        return items
    raise _culprit(items, _real_fault)


def _all_finite(items: list[float]) -> bool:
    # No sum with an inf or nan in it is finite; that of finite items may be beyond all floats.
    return math.isfinite(sum(items)) or all(map(math.isfinite, items))


def _culprit(items: Sequence[Any], fault_of: Callable[[Any], str | None]) -> InputError:
    """Name the first of the items that has a fault; one has."""
    faults = ((index, item, fault_of(item)) for index, item in enumerate(items))
    index, item, fault = next(found for found in faults if found[2])
    return InputError(f"item {index} is {_brief(item)}, {fault}")


def _brief(item: Any) -> str:
    return f"{item!r:.40}"


def _filled(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{_brief(value)} is no {name}")
    if not value:
        raise InputError(f"the {name} is empty, which Clipper cannot serve")
    return value


def _real_fault(item: Any) -> str | None:
    if type(item) is int:
        return f"an integer: write {_brief(item)}.0 instead of {_brief(item)}"
    if type(item) is not float:
        return "not a number"
    return None if math.isfinite(item) else "which JSON cannot hold"


def _integer_fault(item: Any) -> str | None:
    if type(item) is not int:
        return "not an integer"
    return None if -(2**31) <= item < 2**31 else "beyond 32 bits"


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "bytes": _bytes,
    "integers": _integers,
    "floats": _floats,
    "doubles": _doubles,
    "strings": _string,
}
