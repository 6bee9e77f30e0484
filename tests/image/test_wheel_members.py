"""A wheel becomes the files that installing it would bring, and nothing outside the prefix."""

import csv
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from imagesmith.image.tar import write_tar
from imagesmith.image.wheel import Site, wheel_members

INFORMATION = ("METADATA", "WHEEL", "RECORD", "INSTALLER")
SITE = "opt/env/lib/python3.11/site-packages"


def make_wheel(folder: Path, files: dict[str, bytes], executable: tuple[str, ...] = ()) -> Path:
    path = folder / "demo_pkg-1.0-py3-none-any.whl"
    files = {
        **files,
        "demo_pkg-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n",
        "demo_pkg-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    }
    record = "".join(f"{name},sha256=abc,{len(data)}\n" for name, data in files.items())
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o755 if name in executable else 0o644) << 16
            wheel.writestr(info, data)
        wheel.writestr(
            "demo_pkg-1.0.dist-info/RECORD", record + "demo_pkg-1.0.dist-info/RECORD,,\n"
        )
    return path


@pytest.fixture
def bytecode(tmp_path: Path) -> Path:
    path = tmp_path / "bytecode.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo/__pycache__/__init__.cpython-311.pyc", b"code")
    return path


def installed(wheel: Path, bytecode: Path) -> dict[str, tuple[int, bytes]]:
    out = io.BytesIO()
    write_tar(wheel_members(wheel, wheel.name, Site("3.11"), bytecode), out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        return {i.name: (i.mode, tar.extractfile(i).read()) for i in tar if i.isfile()}


def test_each_scheme_goes_to_its_folder(tmp_path, bytecode):
    wheel = make_wheel(
        tmp_path,
        {
            "demo/__init__.py": b"",
            "demo_pkg-1.0.data/purelib/pure.py": b"",
            "demo_pkg-1.0.data/platlib/plat.so": b"",
            "demo_pkg-1.0.data/data/share/demo.txt": b"",
            "demo_pkg-1.0.data/headers/demo.h": b"",
        },
    )
    files = installed(wheel, bytecode)
    assert set(files) == {
        f"{SITE}/demo/__init__.py",
        f"{SITE}/demo/__pycache__/__init__.cpython-311.pyc",
        f"{SITE}/pure.py",
        f"{SITE}/plat.so",
        "opt/env/share/demo.txt",
        "opt/env/include/site/python3.11/demo_pkg/demo.h",
        *(f"{SITE}/demo_pkg-1.0.dist-info/{name}" for name in INFORMATION),
    }


def test_scripts_run_the_environments_python(tmp_path, bytecode):
    wheel = make_wheel(
        tmp_path,
        {
            "demo/__init__.py": b"",
            "demo_pkg-1.0.data/scripts/tool": b"#!python\nprint(1)\n",
            "demo_pkg-1.0.dist-info/entry_points.txt": b"[console_scripts]\nhello = demo:main\n",
        },
    )
    files = installed(wheel, bytecode)
    assert files["opt/env/bin/tool"] == (0o755, b"#!/opt/env/bin/python\nprint(1)\n")
    mode, script = files["opt/env/bin/hello"]
    assert mode == 0o755
    assert script.startswith(b"#!/opt/env/bin/python\n")
    assert b"from demo import main" in script


def test_modes_are_normal(tmp_path, bytecode):
    wheel = make_wheel(
        tmp_path, {"demo/run": b"", "demo/data": b"", "demo/set": b""}, executable=("demo/run",)
    )
    files = installed(wheel, bytecode)
    assert files[f"{SITE}/demo/run"][0] == 0o755
    assert files[f"{SITE}/demo/data"][0] == 0o644


def test_record_names_everything_that_is_there(tmp_path, bytecode):
    wheel = make_wheel(
        tmp_path,
        {
            "demo/__init__.py": b"",
            "demo_pkg-1.0.dist-info/entry_points.txt": b"[console_scripts]\nhello = demo:main\n",
        },
    )
    files = installed(wheel, bytecode)
    record = f"{SITE}/demo_pkg-1.0.dist-info/RECORD"
    rows = list(csv.reader(files[record][1].decode().splitlines()))
    named = {
        f"opt/env/{name.removeprefix('../../../')}" if name.startswith("../") else f"{SITE}/{name}"
        for name, _hash, _size in rows
    }
    assert named == set(files)
    assert rows == sorted(rows)
    assert files[f"{SITE}/demo_pkg-1.0.dist-info/INSTALLER"][1] == b"imagesmith\n"


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/cron.d/evil",
        "demo/../../../../../../etc/passwd",
        "/etc/passwd",
        "demo_pkg-1.0.data/data/../../etc/passwd",
        "demo_pkg-1.0.data/scripts/../../../bin/sh",
    ],
)
def test_a_member_that_would_leave_the_prefix_is_refused(tmp_path, bytecode, name):
    wheel = make_wheel(tmp_path, {name: b"evil"})
    with pytest.raises(ValueError, match="not a path"):
        installed(wheel, bytecode)


def test_an_entry_point_that_would_leave_the_prefix_is_refused(tmp_path, bytecode):
    entry_points = b"[console_scripts]\n../../../etc/evil = demo:main\n"
    wheel = make_wheel(tmp_path, {"demo_pkg-1.0.dist-info/entry_points.txt": entry_points})
    with pytest.raises(ValueError, match="not a path"):
        installed(wheel, bytecode)


def test_an_unknown_scheme_is_refused(tmp_path, bytecode):
    wheel = make_wheel(tmp_path, {"demo_pkg-1.0.data/kernel/module.ko": b""})
    with pytest.raises(KeyError, match="kernel"):
        installed(wheel, bytecode)
