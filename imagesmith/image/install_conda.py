"""Installs conda packages with py-rattler, each into a prefix of its own.

Run in a process of its own, since py-rattler can abort an interpreter. The wish is JSON on stdin:
``python`` X.Y, ``target`` (the prefix that the files will be in), ``archives`` by the folder to
install each into, ``cache`` (a folder to unpack them in). Link scripts are not run. Ends with
status 0, or with the reason on stderr.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from rattler import install
from rattler.package.build_string import BuildString
from rattler.platform import Subdir
from rattler.repo_data import PackageRecord, RepoDataRecord

_LINUX = "linux-64"


def main() -> None:
    """Do what stdin asks for."""
    wish = json.load(sys.stdin)
    try:
        asyncio.run(_install_all(wish))
    except Exception as bad:
        sys.exit(str(bad))
    os._exit(0)


async def _install_all(wish: dict[str, Any]) -> None:
    for folder, archive in wish["archives"].items():
        record = await RepoDataRecord.from_package_archive(Path(archive))
        records = [record]
        if record.name.normalized != "python":
            records.append(_stand_in(wish["python"]))
        await install(
            records,
            folder,
            cache_dir=Path(wish["cache"]),
            installed_packages=[],
            ignored_packages={"python"} if len(records) > 1 else set(),
            platform=Subdir(_LINUX),
            execute_link_scripts=False,
            show_progress=False,
            alternative_target_prefix=wish["target"],
        )


def _stand_in(python: str) -> RepoDataRecord:
    """Give a python that is not installed, but says where noarch packages put their files."""
    version = f"{python}.0"
    record = PackageRecord("python", version, BuildString("0"), 0, _LINUX)
    filename = f"python-{version}-0.conda"
    return RepoDataRecord(record, filename, f"file:///{_LINUX}/{filename}", "file:///")


if __name__ == "__main__":
    main()
