"""A package that the fixtures write is one that conda's own tools read, the same every time."""

import json
import os

import pytest

from fixtures.channel import Content, Package, write_channel, write_package
from fixtures.channel.peer import solve
from fixtures.channel.repodata import index_of

PLACEHOLDER = "/a/placeholder/long/enough/for/any/prefix/that/a/test/may/have" + "_" * 80
TOOL = Package(
    "tool",
    "1.0",
    build_number=3,
    depends=("base >=2",),
    files={
        "bin/tool": Content(f"#!{PLACEHOLDER}/bin/sh\n".encode(), 0o755, placeholder=PLACEHOLDER),
        "lib/tool.bin": Content(b"\1" + PLACEHOLDER.encode() + b"/x\0end", placeholder=PLACEHOLDER),
        "lib/tool.so": Content(link="tool.bin"),
    },
)
PYTHONS = Package(
    "pure",
    "2.0",
    depends=("python",),
    subdir="noarch",
    noarch="python",
    files={"site-packages/pure.py": Content(b"def main(): pass\n")},
    entry_points=("pure = pure:main",),
)
OTHERS = (Package("base", "2.1"), Package("python", "3.11.4"))


@pytest.fixture
def channel(tmp_path):
    folder = tmp_path / "channel"
    for package in (TOOL, PYTHONS, *OTHERS):
        write_package(package, folder)
    return write_channel(folder)


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
def test_the_same_package_gives_the_same_bytes(tmp_path, suffix):
    one, other = (write_package(TOOL, tmp_path / name, suffix) for name in "ab")
    assert one.read_bytes() == other.read_bytes()
    assert one.relative_to(tmp_path / "a").as_posix() == f"linux-64/tool-1.0-0{suffix}"


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
def test_its_index_is_read_back_from_the_archive(tmp_path, suffix):
    assert index_of(write_package(TOOL, tmp_path, suffix)) == TOOL.index()


def test_installing_puts_the_prefix_in_the_placeholders_place(channel, tmp_path):
    prefix = tmp_path / "prefix"
    solve(channel, "tool", prefix=prefix)
    assert (prefix / "bin/tool").read_text() == f"#!{prefix}/bin/sh\n"
    binary = (prefix / "lib/tool.bin").read_bytes()
    assert binary.startswith(b"\1" + os.fsencode(prefix) + b"/x\0")
    assert len(binary) == len(TOOL.files["lib/tool.bin"].data)
    assert (prefix / "lib/tool.so").readlink().as_posix() == "tool.bin"
    assert (prefix / "bin/tool").stat().st_mode & 0o111


def test_a_pure_package_lands_in_the_pythons_site_packages(channel, tmp_path):
    prefix = tmp_path / "prefix"
    solve(channel, "pure", prefix=prefix)
    assert (prefix / "lib/python3.11/site-packages/pure.py").is_file()
    assert "from pure import main" in (prefix / "bin/pure").read_text()
    (record,) = (prefix / "conda-meta").glob("pure-*.json")
    assert "bin/pure" in json.loads(record.read_text())["files"]


def test_an_archive_of_the_old_form_installs_as_well(tmp_path):
    write_package(OTHERS[0], tmp_path / "channel")
    write_package(TOOL, tmp_path / "channel", ".tar.bz2")
    url = write_channel(tmp_path / "channel")
    assert solve(url, "tool", prefix=tmp_path / "prefix")["tool"] == "tool-1.0-0.tar.bz2"
    assert (tmp_path / "prefix/bin/tool").is_file()
