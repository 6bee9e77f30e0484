"""Byte code by a base's own Python, wherever a plan's members are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.image import oci
from imagesmith.image.bytecode import base_python, compiled
from imagesmith.image.unpack import unpacked

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.image.bytecode import ByteCode, Interpreter
    from imagesmith.store import Store


@dataclass(frozen=True)
class BaseCompiler:
    """Compiles zips of sources (see ``sources.Compiler``) with the Python of a base's one layer.

    Raises ImagesmithError: build.base-python, build.bytecode, build.layer, build.store.
    """

    store: Store
    base: oci.Image

    def __call__(self, sources: Path, digest: str, prefix: str) -> ByteCode:
        """Give the byte code, made once for each digest and prefix."""
        key = self.base.manifest.digest
        return compiled(self.store, key, self._interpreter, sources, digest, prefix)

    def _interpreter(self) -> Interpreter:
        """Give the base's Python, for which the base is unpacked, once."""
        (layer,) = self.base.layers
        root = unpacked(self.store, self.base.blob(layer.blob.digest), layer)
        return base_python(root, self.base.config.labels[oci.LABEL_PYTHON])
