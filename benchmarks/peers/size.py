"""What an image of locked wheels cannot do without: their files, and byte code of those."""

import compileall
import re
import tomllib
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode

from imagesmith.resolve.files import PYLOCK
from imagesmith.store import Store


def unpacked(store: Path, lock: Path, folder: Path) -> int:
    """Unpack a lock's wheels into a folder, compile what is in no folder of tests; gives bytes."""
    for package in tomllib.loads((lock / PYLOCK).read_text())["packages"]:
        (wheel,) = package["wheels"]
        blob = Store(store).path(f"sha256:{wheel['hashes']['sha256']}")
        zipfile.ZipFile(blob).extractall(folder)
    mode = PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, rx=re.compile("/tests?/"), invalidation_mode=mode)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
