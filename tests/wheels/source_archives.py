"""Projects that build themselves, and their source archives, made by hand."""

from __future__ import annotations

import gzip
import io
import tarfile

# A build backend that brings itself, writes the wheel it is told to, and needs nothing.
BACKEND = """
import base64, hashlib, json, os, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    from order import name, tag, metadata, files
    info = f"{name}.dist-info"
    files = {
        **files(),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {tag}\\n",
    }
    record = "".join(f"{path},{_hash(text)},{len(text)}\\n" for path, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, f"{name}-{tag}.whl"), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return f"{name}-{tag}.whl"

def _hash(text):
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
ORDER = """
name = "{name}-{version}"
tag = "py3-none-any"
metadata = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"

def files():
    return {{"{name}.py": "VERSION = {version!r}\\n"}}
"""


def project(name="thing", version="1.0", **files):
    """Give the files of a project that builds itself; ``order`` is added to what it makes."""
    order = ORDER.format(name=name, version=version) + files.pop("order", "")
    return {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND + files.pop("backend", ""),
        "order.py": order,
        **files,
    }


def tarred(files, top="thing-1.0/"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(f"{top}{path}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)  # whose own header would tell the time
