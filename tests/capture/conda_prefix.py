"""Conda prefixes of any platform, small, as conda writes them."""

import json
from dataclasses import dataclass
from pathlib import Path

from imagesmith.capture.prefix import read_prefix

FORGE = "https://conda.anaconda.org/conda-forge"


@dataclass
class CondaPrefix:
    """A prefix of one platform, whose packages are written by hand."""

    prefix: Path
    subdir: str
    python: str = "3.11.7"

    @property
    def site(self):
        minor = self.python.rpartition(".")[0]
        below = "Lib" if self.subdir.startswith("win") else f"lib/python{minor}"
        return f"{below}/site-packages"

    def write(self, path, text=""):
        (self.prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (self.prefix / path).write_text(text)

    def record(self, name, version, files=(), **others):
        """Write a record into conda-meta; None takes a field out of it."""
        subdir = others.get("subdir", self.subdir)
        channel = others.pop("channel_url", FORGE)
        fields = {
            "name": name,
            "version": version,
            "build": "h123_0",
            "build_number": 0,
            "channel": f"{channel}/{subdir}",
            "url": f"{channel}/{subdir}/{name}-{version}-h123_0.conda",
            "subdir": subdir,
            "depends": [],
            "files": list(files),
            "paths_data": {"paths": [{"_path": f, "size_in_bytes": 10} for f in files]},
            **others,
        }
        record = {key: value for key, value in fields.items() if value is not None}
        self.write(f"conda-meta/{name}-{version}-h123_0.json", json.dumps(record))

    def install(self, name, version, modules=(), called=None, **others):
        """Write a package of Python's own: its record, modules and dist-info."""
        called = called or name
        info = f"{self.site}/{called.replace('-', '_')}-{version}.dist-info"
        files = [f"{self.site}/{module}" for module in modules]
        metadata = f"Metadata-Version: 2.1\nName: {called}\nVersion: {version}\n"
        texts = {"METADATA": metadata, "INSTALLER": "conda\n"}
        texts["RECORD"] = "".join(f"{path},,\n" for path in modules)
        for path in files:
            self.write(path)
        for file, text in texts.items():
            self.write(f"{info}/{file}", text)
        self.record(name, version, [*files, *(f"{info}/{file}" for file in texts)], **others)

    def history(self, *lines):
        self.write("conda-meta/history", "".join(f"{line}\n" for line in lines))


def read(made):
    """Read a prefix of which there is nothing to be said."""
    environment, findings = read_prefix(made.prefix)
    assert not findings
    return environment


def package(environment, name):
    return next(package for package in environment.packages if package.name == name)
