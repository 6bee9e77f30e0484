"""What an image of locked wheels cannot do without: their files, and byte code of those."""

import compileall
import marshal
import re
import tomllib
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode

from imagesmith.resolve.files import PYLOCK
from imagesmith.store import Store


def unpacked(store: Path, lock: Path, folder: Path) -> tuple[int, int]:
    """Unpack a lock's wheels into a folder, and compile what is in no folder of tests.

    Gives the bytes of all that twice: with byte code in marshal's version 2, which differs from run
    to run in nothing and loads in two thirds of the time, and as compileall writes it, smaller.
    """
    for package in tomllib.loads((lock / PYLOCK).read_text())["packages"]:
        (wheel,) = package["wheels"]
        blob = Store(store).path(f"sha256:{wheel['hashes']['sha256']}")
        zipfile.ZipFile(blob).extractall(folder)
    mode = PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, rx=re.compile("/tests?/"), invalidation_mode=mode)
    compiled = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    longer = sum(map(_longer, folder.rglob("*.pyc")))
    return compiled + longer, compiled


def _longer(pyc: Path) -> int:
    """Give how many bytes more the code of a .pyc (PEP 552) has in marshal's version 2."""
    code = pyc.read_bytes()[16:]
    return len(marshal.dumps(marshal.loads(code), 2)) - len(code)
