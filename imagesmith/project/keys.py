"""The keys of a model's table: what each must hold, and which wish it is part of.

They are the options of ``imagesmith build``, without the two dashes; what that turns off with
``--no-…`` is a key that can be false.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.sizes import is_size, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable


class Part(Enum):
    """What a key is a field of: see ``read.model_of``."""

    CAPTURE = auto()
    BUILD = auto()
    SOURCES = auto()
    LOCK = auto()
    MODEL = auto()


@dataclass(frozen=True)
class Kind:
    """What a key may hold, in words and as a test of TOML's value; and what is made of that."""

    words: str
    fits: Callable[[Any], bool]
    made: Callable[[Any], Any] = lambda value: value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and value != ""


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _updates(lines: list[str]) -> dict[str, str | None]:
    pairs = (line.partition("==") for line in lines)
    return {name: version or None for name, _, version in pairs}


def _one_of(*choices: str, made: Callable[[Any], Any] = str) -> Kind:
    quoted = " or ".join(f'"{choice}"' for choice in choices)
    return Kind(quoted, lambda value: isinstance(value, str) and value in choices, made)


def _is_size(value: Any) -> bool:
    return isinstance(value, str) and is_size(value)


TEXT = Kind("a text", _is_text)
PATH = Kind("a text, the path of a file", _is_text, Path)
TEXTS = Kind("a list of texts", _are_texts, tuple)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
SIZE = Kind("a text, a size as 600MB", _is_size, parse_size)
NUMBER = Kind("a number", lambda value: type(value) in (int, float), float)


@dataclass(frozen=True)
class Key:
    """One key; one that is ``own`` tells a model from others, and cannot be given for all."""

    kind: Kind
    part: Part
    field: str
    own: bool = False


KEYS = {
    "target": Key(TEXT, Part.CAPTURE, "target", own=True),
    "name": Key(TEXT, Part.CAPTURE, "name", own=True),
    "version": Key(TEXT, Part.CAPTURE, "version", own=True),
    "samples": Key(PATH, Part.CAPTURE, "samples", own=True),
    "input-type": Key(TEXT, Part.CAPTURE, "input_type"),
    "strings": Key(_one_of("str", "bytes"), Part.CAPTURE, "strings"),
    "env": Key(TEXT, Part.CAPTURE, "env"),
    "base": Key(TEXT, Part.BUILD, "base"),
    "apt": Key(TEXTS, Part.BUILD, "apt"),
    "builder": Key(_one_of("auto", "layers", "docker"), Part.BUILD, "builder"),
    "template": Key(PATH, Part.BUILD, "template"),
    "pip-resolver": Key(_one_of("uv", "pip-tools"), Part.BUILD, "pip_resolver"),
    "verify": Key(FLAG, Part.BUILD, "verify"),
    "compare": Key(FLAG, Part.BUILD, "compare"),
    "rtol": Key(NUMBER, Part.BUILD, "rtol"),
    "max-size": Key(SIZE, Part.BUILD, "max_size"),
    "index-url": Key(TEXT, Part.SOURCES, "index_url"),
    "channel": Key(TEXTS, Part.SOURCES, "channels"),
    "cuda": Key(TEXT, Part.SOURCES, "cuda"),
    "deps": Key(_one_of("needed", "all", made="all".__eq__), Part.LOCK, "everything"),
    "allow-missing": Key(Kind(TEXTS.words, TEXTS.fits, frozenset), Part.LOCK, "allow_missing"),
    "update": Key(Kind(TEXTS.words, TEXTS.fits, _updates), Part.LOCK, "updates"),
    "output": Key(TEXT, Part.MODEL, "output"),
    "push": Key(TEXT, Part.MODEL, "push"),
    "sign": Key(TEXT, Part.MODEL, "sign"),
}
