"""A wheel becomes the files that installing it would bring, and nothing outside the prefix."""

import csv
import hashlib
import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from imagesmith.image.bytecode import ByteCode
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import write_tar
from imagesmith.image.wheel import Site, archives, wheel_members
from imagesmith.store import Store

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
def bytecode(tmp_path: Path) -> ByteCode:
    path = tmp_path / "bytecode.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo/__pycache__/__init__.cpython-311.pyc", b"code")
    return ByteCode.of(Store(tmp_path / "store"), path)


def installed(wheel: Path, bytecode: ByteCode) -> dict[str, tuple[int, bytes]]:
    out = io.BytesIO()
    write_tar(wheel_members(wheel, wheel.name, Site("3.11"), bytecode, archives()), out)
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
    with pytest.raises(ValueError, match="kernel"):
        installed(wheel, bytecode)


ODD_RECORDS = {
    "an empty line": b"\n\ndemo/a.py,sha256=abc,1\n",
    "a row of one field": b"demo/a.py\n",
    "a row of many fields": b"demo/a.py,sha256=abc,1,2,3\n",
    "a name with a comma and a line break": b'"demo/a, b\nc.py",sha256=abc,1\n',
    "nothing": b"",
}


@pytest.mark.parametrize("record", ODD_RECORDS.values(), ids=ODD_RECORDS)
def test_a_record_of_odd_rows_is_read_as_pip_reads_it(tmp_path, bytecode, record):
    path = rewritten(make_wheel(tmp_path, {"demo/a.py": b""}), "RECORD", record)
    assert f"{SITE}/demo/a.py" in installed(path, bytecode)


EVIL_INFORMATION = {
    "a record with an endless field": ("RECORD", b'"' + b"a" * 200_000 + b'",,\n'),
    "a record that is not utf-8": ("RECORD", b"\xff\xfe,,\n"),
    "entry points without a section": ("entry_points.txt", b"hello = demo:main\n"),
    "an entry point without a function": ("entry_points.txt", b"[console_scripts]\nx = demo\n"),
    "an entry point that is none": ("entry_points.txt", b"[console_scripts]\nx = ;rm -rf\n"),
}


@pytest.mark.parametrize(("name", "data"), EVIL_INFORMATION.values(), ids=EVIL_INFORMATION)
def test_information_that_cannot_be_read_is_refused(tmp_path, bytecode, name, data):
    path = rewritten(make_wheel(tmp_path, {}), name, data)
    with pytest.raises(ValueError):
        installed(path, bytecode)


def test_a_link_in_a_wheel_is_a_file_that_holds_its_target_as_with_pip(tmp_path, bytecode):
    wheel = make_wheel(tmp_path, {})
    with zipfile.ZipFile(wheel, "a") as archive:
        link = zipfile.ZipInfo("demo/passwd")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert installed(wheel, bytecode)[f"{SITE}/demo/passwd"][1] == b"/etc/passwd"


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        (stat.S_IFCHR | 0o644, "device"),
        (stat.S_IFBLK | 0o644, "device"),
        (stat.S_IFIFO | 0o644, "pipe"),
        (stat.S_IFREG | 0o4755, "setuid"),
        (stat.S_IFREG | 0o2755, "setgid"),
    ],
)
def test_a_device_and_a_setuid_file_are_refused_by_name(tmp_path, bytecode, mode, word):
    wheel = make_wheel(tmp_path, {})
    with zipfile.ZipFile(wheel, "a") as archive:
        member = zipfile.ZipInfo("demo/evil")
        member.external_attr = mode << 16
        archive.writestr(member, b"")
    with pytest.raises(ValueError, match=f"demo/evil.*{word}"):
        installed(wheel, bytecode)


def test_of_two_members_of_one_name_the_last_counts(tmp_path, bytecode):
    wheel = make_wheel(tmp_path, {"demo/a.py": b"first"})
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(wheel, "a") as archive,
    ):
        archive.writestr("demo/a.py", b"second")
    assert installed(wheel, bytecode)[f"{SITE}/demo/a.py"][1] == b"second"


def test_a_wheel_that_is_no_zip_or_has_no_record_is_refused(tmp_path, bytecode):
    empty = tmp_path / "demo_pkg-1.0-py3-none-any.whl"
    empty.write_bytes(b"no zip")
    with pytest.raises(ValueError, match="not a zip"):
        installed(empty, bytecode)
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("demo_pkg-1.0.dist-info/METADATA", b"")
    with pytest.raises(ValueError, match="RECORD"):
        installed(empty, bytecode)


def set_in_directory(data: bytearray, name: str, at: int, form: str, value: int) -> None:
    """Change a field of an entry in a zip's central directory (APPNOTE.TXT, 4.3.12)."""
    entry = data.index(b"PK\x01\x02")
    while not data[entry + 46 :].startswith(name.encode()):
        entry = data.index(b"PK\x01\x02", entry + 4)
    struct.pack_into(form, data, entry + at, value)


@pytest.mark.parametrize(
    ("at", "form", "change"),
    [(16, "<L", 1), (20, "<L", -3), (20, "<L", 5), (24, "<L", -1), (24, "<L", 1), (42, "<L", 1)],
    ids=["crc", "cut", "more", "shorter", "longer", "elsewhere"],
)
@pytest.mark.parametrize("size", [500, 50_000], ids=["small", "taken over as it is"])
def test_a_deflated_member_that_is_not_as_announced_never_gets_into_a_layer(
    tmp_path, bytecode, size, at, form, change
):
    wheel = tmp_path / "demo_pkg-1.0-py3-none-any.whl"
    noise = hashlib.shake_256(b"noise").digest(size)
    with zipfile.ZipFile(make_wheel(tmp_path, {}), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo/a.bin", noise)
        entry = archive.getinfo("demo/a.bin")
    fields = {16: entry.CRC, 20: entry.compress_size, 24: entry.file_size}
    spoilt = bytearray(wheel.read_bytes())
    value = fields.get(at, entry.header_offset) + change
    set_in_directory(spoilt, "demo/a.bin", at, form, value)
    wheel.write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"demo/a\.bin"):
        write_layer(
            Store(tmp_path / "store"),
            wheel_members(wheel, wheel.name, Site("3.11"), bytecode, archives()),
            "demo",
        )


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_whose_bytes_are_damaged_is_refused_by_name(tmp_path, bytecode, how):
    wheel = tmp_path / "demo_pkg-1.0-py3-none-any.whl"
    data = bytes(range(256)) * 64
    with zipfile.ZipFile(make_wheel(tmp_path, {}), "a", how) as archive:
        archive.writestr("demo/a.bin", data)
        entry = archive.getinfo("demo/a.bin")
    spoilt = bytearray(wheel.read_bytes())
    at = entry.header_offset + 30 + len(entry.filename)
    spoilt[at : at + entry.compress_size] = b"~" * entry.compress_size
    wheel.write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"demo/a\.bin"):
        installed(wheel, bytecode)


def test_many_wheels_do_not_stay_open(tmp_path, bytecode):
    """A layer of many small wheels would else run out of file handles."""
    opened, members = archives(), []
    for number in range(100):
        (tmp_path / str(number)).mkdir()
        wheel = make_wheel(tmp_path / str(number), {f"demo{number}/a.py": b""})
        members += [
            member
            for member in wheel_members(wheel, wheel.name, Site("3.11"), bytecode, opened)
            if f"demo{number}/" in member.path
        ]
    before = len(list(Path("/proc/self/fd").iterdir()))
    write_tar(members, io.BytesIO())
    assert len(members) == 100
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 16


def rewritten(wheel: Path, name: str, data: bytes) -> Path:
    """Give a wheel of the same members but for this one of its information."""
    path = wheel.parent / "other" / wheel.name
    path.parent.mkdir()
    name = f"demo_pkg-1.0.dist-info/{name}"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        new.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["demo/a.py", "demo_pkg-1.0.dist-info/RECORD"])
def test_a_member_that_is_encrypted_is_refused(tmp_path, bytecode, name):
    wheel = make_wheel(tmp_path, {"demo/a.py": b""})
    data = bytearray(wheel.read_bytes())
    set_in_directory(data, name, 8, "<H", 1)  # a flag: encrypted
    wheel.write_bytes(data)
    with pytest.raises(ValueError, match="encrypted"):
        installed(wheel, bytecode)
