"""The JSON bodies of Clipper's REST calls: read by field, refused in Clipper's words.

Source of the texts: ucbrise/clipper 0.4, src/libclipper/src/json_util.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from imagesmith.runtime.wire import parse_input_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class BadBody(ValueError):  # noqa: N818 (an answer of Clipper's, not a fault)
    """The body is not what the call takes; the text says why, as Clipper does."""


@dataclass(frozen=True)
class Kind:
    """A field's type: how a schema writes it, and how its value is checked and read."""

    schema: str
    read: Callable[[str, Any], Any]


def parse(data: bytes) -> Any:
    """Read JSON; raises BadBody."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as bad:
        raise BadBody(f"JSON parse error: {bad.msg} (offset {bad.pos})\n") from bad


def read(data: bytes, fields: Mapping[str, Kind]) -> dict[str, Any]:
    """Read a JSON object's fields; raises BadBody, with the whole schema, for the first fault."""
    try:
        document = parse(data)
        return {name: _field(document, name, kind) for name, kind in fields.items()}
    except BadBody as bad:
        raise BadBody(with_schema(bad, _schema(fields))) from bad


def with_schema(bad: BadBody, schema: str) -> str:
    """Give Clipper's text for a body that does not fit a schema."""
    return f"Error parsing JSON: {bad}. Expected JSON schema: {schema}"


def _schema(fields: Mapping[str, Kind]) -> str:
    lines = ",\n".join(f'   "{name}" := {kind.schema}' for name, kind in fields.items())
    return f"\n  {{\n{lines}\n  }}\n"


def _field(document: Any, name: str, kind: Kind) -> Any:
    if not isinstance(document, dict):
        raise BadBody("Can only get key-value pair from an object")
    if name not in document:
        raise BadBody(f"JSON object does not have required key: {name}")
    return kind.read(name, document[name])


def _type_name(value: Any) -> str:
    """Give RapidJSON's name of a value's type."""
    if value is None or isinstance(value, bool):
        return {None: "Null", False: "False", True: "True"}[value]
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def _typed(name: str, value: Any, expected: str) -> Any:
    found = _type_name(value)
    if found != expected:  # the missing blank is Clipper's
        raise BadBody(
            f"Type mismatch! JSON key {name} expected type {expected}but found type {found}"
        )
    return value


def _string(name: str, value: Any) -> str:
    return str(_typed(name, value, "String"))


def _integer(name: str, value: Any) -> int:
    _typed(name, value, "Number")
    if not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise BadBody("PredictionData of type Number is not of type int")
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadBody(
            f"Type mismatch! JSON key {name} expected type bool but found type {_type_name(value)}"
        )
    return value


def _array(name: str, value: Any) -> list[Any]:
    return list(_typed(name, value, "Array"))


def _strings(name: str, value: Any) -> list[str]:
    for item in (items := _array(name, value)):
        if not isinstance(item, str):
            raise BadBody(f"Array input of type {_type_name(item)} is not of type string")
    return items


def _input_type(name: str, value: Any) -> Any:
    try:
        return parse_input_type(_string(name, value))
    except BadBody:
        raise
    except ValueError as bad:  # Clipper's own frontend closes the connection after 5 s here
        raise BadBody(str(bad)) from bad


STRING = Kind("string", _string)
INTEGER = Kind("int", _integer)
BOOLEAN = Kind("bool", _boolean)
ARRAY = Kind("[…]", _array)
STRINGS = Kind("[string]", _strings)
INPUT_TYPE = Kind('"integers" | "bytes" | "floats" | "doubles" | "strings"', _input_type)
