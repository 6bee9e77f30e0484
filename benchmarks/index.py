"""A package index and a conda channel of any size, made of nothing, for benchmarks of locking."""

import hashlib
import json
import zipfile
from pathlib import Path

_EPOCH = (2020, 1, 1, 0, 0, 0)
_RUNTIME = ("cloudpickle", "numpy", "prometheus-client", "pyzmq")
_TIME = 1_600_000_000_000  # milliseconds
_VERSIONS = 20  # of each package of a channel
_NEEDED = 40  # packages that are asked for of a channel


def simple_index(folder: Path, count: int) -> list[str]:
    """Write a simple index (PEP 503) of some packages, and give them pinned.

    Each requires the two before it, and has three versions of which the middle one is pinned.
    """
    pins = []
    for number in range(count):
        for version in ("1.0", "1.1", "1.2"):
            _publish(folder, f"bench-{number}", version, _requirements(number))
        pins.append(f"bench-{number}==1.1")
    for name in _RUNTIME:
        _publish(folder, name, "1.0", [])
    return pins


def installed(prefix: Path, count: int, needed: int) -> Path:
    """Install so many of those in an environment, of which so many are needed; gives its folder."""
    site = prefix / "lib" / "python3.11" / "site-packages"
    for number in range(count):
        info = site / f"bench_{number}-1.1.dist-info"
        info.mkdir(parents=True)
        lines = [f"Requires-Dist: {requirement}\n" for requirement in _requirements(number)]
        head = f"Metadata-Version: 2.1\nName: bench-{number}\nVersion: 1.1\n"
        (info / "METADATA").write_text(head + "".join(lines))
        (info / "RECORD").write_text(f"bench_{number}.py,,\n")
        if number == needed - 1:
            (info / "REQUESTED").touch()
    (prefix / "pyvenv.cfg").write_text("version = 3.11.7\n")
    return prefix


def _requirements(number: int) -> list[str]:
    return [f"bench-{n}>=1" for n in range(max(0, number - 2), number)]


def _publish(folder: Path, name: str, version: str, requires: list[str]) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {requirement}\n" for requirement in requires]
    texts = {
        "METADATA": "".join(metadata),
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    wheel = files / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in texts.items():
            archive.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{file}", _EPOCH), text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    page = folder / "simple" / name / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    with page.open("a") as file:
        file.write(f'<a href="../../files/{wheel.name}#sha256={digest}">{wheel.name}</a><br>\n')


def channel(folder: Path, records: int) -> list[str]:
    """Write a channel of so many records, and give specs of some of its packages.

    Each package requires two others, as in a tree, so that a solution has some hundred of them.
    """
    linux: dict[str, object] = {}
    _record(linux, "python", "3.11.7", [])
    for name in _RUNTIME:
        _record(linux, name.replace("-", "_"), "1.0", ["python >=3.11,<3.12.0a0"])
    for number in range(records // _VERSIONS):
        before = [f"bench{n} >=1" for n in sorted({number // 2, number // 3} - {number})]
        for minor in range(_VERSIONS):
            depends = ["python >=3.11,<3.12.0a0", "__glibc >=2.17", *before]
            _record(linux, f"bench{number}", f"1.{minor}", depends)
    for subdir, packages in (("linux-64", linux), ("noarch", {})):
        (folder / subdir).mkdir(parents=True)
        data = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages}
        (folder / subdir / "repodata.json").write_text(json.dumps(data))
    step = max(1, records // _VERSIONS // _NEEDED)
    return [f"bench{number}=1.10" for number in range(0, records // _VERSIONS, step)][:_NEEDED]


def _record(packages: dict[str, object], name: str, version: str, depends: list[str]) -> None:
    filename = f"{name}-{version}-0.conda"
    digest = hashlib.sha256(filename.encode()).hexdigest()
    packages[filename] = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": depends,
        "subdir": "linux-64",
        "sha256": digest,
        "md5": digest[:32],
        "size": 1_000_000,
        "timestamp": _TIME,
    }
