"""A conda channel of the tests' own: repodata alone, which is all that a solver reads."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TIME = 1_600_000_000_000  # milliseconds


class LocalChannel:
    """A channel in a folder, with a record for each package that is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[str, dict[str, dict]] = {"linux-64": {}, "noarch": {}}

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def add(self, name, version, *depends, build="0", subdir="linux-64", number=0, **more):
        """Add a package and write the channel anew."""
        filename = f"{name}-{version}-{build}.conda"
        digest = hashlib.sha256(f"{subdir}/{filename}".encode()).hexdigest()
        self._records.setdefault(subdir, {})[filename] = {
            "name": name,
            "version": version,
            "build": build,
            "build_number": number,
            "depends": list(depends),
            "subdir": subdir,
            "sha256": digest,
            "md5": digest[:32],
            "size": 1000,
            "timestamp": _TIME,
            **({"noarch": "python"} if subdir == "noarch" else {}),
            **more,
        }
        for one, records in self._records.items():
            (self.folder / one).mkdir(parents=True, exist_ok=True)
            data = {"info": {"subdir": one}, "packages": {}, "packages.conda": records}
            (self.folder / one / "repodata.json").write_text(json.dumps(data))

    def add_python(self, version="3.11.7"):
        self.add("python", version)
