"""A conda of the tests' own: solves and installs with py-rattler, in a process that may die.

Run as ``conda_peer.py ANSWER``: the wish is JSON on stdin, the answer is written into a file, since
py-rattler can abort the interpreter at its end.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def solve(url, *specs, platform="linux-64", glibc="2.36", prefix=None):
    """Give what a channel's solution holds, ``{name: file name}``, installed if a prefix is named.

    Where there is none, ``{"": why}``.
    """
    wish = {"url": url, "specs": specs, "platform": platform, "glibc": glibc, "prefix": prefix}
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer")
        argv = [sys.executable, __file__, str(answer)]
        wish["cache"] = folder
        subprocess.run(argv, input=json.dumps(wish, default=str), text=True, check=False)
        return json.loads(answer.read_text())


async def _answer(wish):
    from rattler import GenericVirtualPackage, PackageName, Version, install, solve
    from rattler.exceptions import SolverError
    from rattler.package.build_string import BuildString

    glibc = GenericVirtualPackage(PackageName("__glibc"), Version(wish["glibc"]), BuildString("0"))
    platforms = [wish["platform"], "noarch"]
    try:
        records = await solve(
            [wish["url"]], wish["specs"], platforms=platforms, virtual_packages=[glibc]
        )
    except SolverError as none:
        return {"": str(none)}
    if wish["prefix"]:
        cache = Path(wish["cache"], "packages")
        await install(records, wish["prefix"], cache_dir=cache, show_progress=False)
    return {record.name.normalized: record.file_name for record in records}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(_answer(json.load(sys.stdin)))))
