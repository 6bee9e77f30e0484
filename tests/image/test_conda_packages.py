"""A conda package becomes tar members: what installing it brings, and never more than that."""

import io
import json
import os
import re
import tarfile
import zipfile
from dataclasses import replace
from functools import partial

import pytest
from rattler import PrefixRecord

from fixtures.channel import Content, Package, locked, write_package
from imagesmith.findings import ExitCode, ImagesmithError, Severity
from imagesmith.image.bytecode import ByteCode
from imagesmith.image.conda import conda_members, installed
from imagesmith.image.conda_archive import check
from imagesmith.image.tar import Kind, contents, write_tar
from imagesmith.store import DamagedError, Store

PLACEHOLDER = "/opt/placeholder" + "_" * 200
SITE = "opt/env/lib/python3.11/site-packages"
TOOL = Package(
    "tool",
    "1.0",
    files={
        "bin/tool": Content(f"#!{PLACEHOLDER}/bin/sh\n".encode(), 0o775, placeholder=PLACEHOLDER),
        "lib/libtool.so": Content(b"\1" + PLACEHOLDER.encode() + b"/x\0", placeholder=PLACEHOLDER),
        "lib/libtool.so.1": Content(link="libtool.so"),
        "share/tool/secret": Content(b"open to all", 0o600),
    },
)
PURE = Package(
    "pure",
    "2.0",
    "py_0",
    subdir="noarch",
    noarch="python",
    files={
        "site-packages/pure/__init__.py": Content(b"def main(): pass\n"),
        "site-packages/pure/__pycache__/__init__.cpython-311.pyc": Content(b"somebody's"),
    },
    entry_points=("pure = pure:main",),
)


@pytest.fixture
def shop(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def add(shop, tmp_path):
    """Give a function that writes a package and puts it into the store, as its lock says."""

    def add(package, suffix=".conda", store=shop):
        archive = write_package(package, tmp_path / "channel", suffix)
        store.add_file(archive)
        return locked(archive)

    return add


def shouting(store, sources, digest, prefix):
    """Compile as far as one can tell: the byte code is the source in capitals."""
    path = store.root / f"{digest[7:]}.pyc.zip"
    with zipfile.ZipFile(sources) as archive, zipfile.ZipFile(path, "w") as compiled:
        for name in archive.namelist():
            folder, _, module = name.rpartition("/")
            data = archive.read(name).upper()
            compiled.writestr(f"{folder}/__pycache__/{module[:-3]}.cpython-311.pyc", data)
    return ByteCode.of(store, path)


def members(shop, *packages):
    compiler = partial(shouting, shop)
    return {m.path: m for m in conda_members(packages, "3.11", shop, compiler)}


def content(member):
    return b"".join(contents(member))


def refused(shop, *packages):
    """Give the findings of packages that may not be installed, and see that nothing was."""
    with pytest.raises(ImagesmithError) as stopped:
        installed(packages, "3.11", shop)
    assert stopped.value.exit_code is ExitCode.BUILD
    assert not [path for path in (shop.root / "folders").rglob("*") if path.name != "conda"]
    return stopped.value.findings


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
def test_the_prefix_of_the_image_stands_in_the_placeholders_place(shop, add, suffix):
    found = members(shop, add(TOOL, suffix))
    assert content(found["opt/env/bin/tool"]) == b"#!/opt/env/bin/sh\n"
    binary = content(found["opt/env/lib/libtool.so"])
    assert binary.startswith(b"\1/opt/env/x\0")
    assert len(binary) == len(TOOL.files["lib/libtool.so"].data)


def test_of_a_mode_it_is_kept_whether_it_is_a_program(shop, add):
    found = members(shop, add(TOOL))
    assert found["opt/env/bin/tool"].mode == 0o755
    assert found["opt/env/share/tool/secret"].mode == 0o644
    link = found["opt/env/lib/libtool.so.1"]
    assert (link.kind, link.target) == (Kind.SYMLINK, "libtool.so")


def test_a_pure_package_fits_its_python_and_has_its_commands(shop, add):
    found = members(shop, add(PURE))
    assert content(found[f"{SITE}/pure/__init__.py"]) == b"def main(): pass\n"
    assert content(found["opt/env/bin/pure"]).startswith(b"#!/opt/env/bin/python3.11\n")
    assert found["opt/env/bin/pure"].mode == 0o755


def test_the_byte_code_is_ours_and_not_the_packages(shop, add):
    found = members(shop, add(PURE))
    path = f"{SITE}/pure/__pycache__/__init__.cpython-311.pyc"
    assert content(found[path]) == b"DEF MAIN(): PASS\n"


def test_a_record_says_what_is_there_and_nothing_of_the_host(shop, add, tmp_path):
    package = add(PURE)
    found = members(shop, package)
    meta = found["opt/env/conda-meta/pure-2.0-py_0.json"]
    record = json.loads(content(meta))
    files = {f"opt/env/{path}" for path in record["files"]}
    assert files == found.keys() - {meta.path, "opt/env/conda-meta/history"}
    assert {f"opt/env/{path['_path']}" for path in record["paths_data"]["paths"]} == files
    assert (record["name"], record["version"], record["build"]) == ("pure", "2.0", "py_0")
    assert f"sha256:{record['sha256']}" == package.digest
    assert str(tmp_path) not in content(meta).decode()
    assert meta.mode == 0o644


def test_conda_knows_the_prefix_again(shop, add, tmp_path):
    """Its own reader is not at hand; py-rattler reads the same files."""
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    for path, member in members(shop, add(TOOL), add(PURE)).items():
        if path.startswith("opt/env/conda-meta/"):
            (meta / path.rpartition("/")[2]).write_bytes(content(member))
    assert (meta / "history").read_bytes() == b""
    records = [PrefixRecord.from_path(path) for path in sorted(meta.glob("*.json"))]
    assert [record.name.normalized for record in records] == ["pure", "tool"]


def test_two_installations_in_two_places_give_the_same_bytes(shop, add, tmp_path):
    other = Store(tmp_path / "elsewhere" / "deep" / "store")
    one, two = io.BytesIO(), io.BytesIO()
    write_tar(members(shop, add(TOOL), add(PURE)).values(), one)
    before = os.umask(0o077)
    try:
        again = [add(TOOL, store=other), add(PURE, store=other)]
        mirrored = [replace(package, url="https://mirror.example/x") for package in again]
        write_tar(members(other, *mirrored).values(), two)
    finally:
        os.umask(before)
    assert one.getvalue() == two.getvalue()


def test_a_package_is_the_same_alone_and_among_others(shop, add):
    tool, pure = add(TOOL), add(PURE)
    alone, together = members(shop, pure), members(shop, tool, pure)
    assert {path: content(m) for path, m in alone.items()}.items() <= {
        path: content(m) if m.kind is Kind.FILE else None for path, m in together.items()
    }.items()


def test_where_two_bring_one_path_the_later_by_name_wins(shop, add):
    names = ("alpha", "beta")
    packages = [Package(n, "1", files={"share/x": Content(n.encode())}) for n in names]
    found = members(shop, *map(add, packages))
    assert content(found["opt/env/share/x"]) == b"beta"


def test_it_is_installed_once(shop, add, monkeypatch):
    package = add(TOOL)
    first = installed([package], "3.11", shop)
    monkeypatch.setattr("subprocess.run", None)
    assert installed([package], "3.11", shop) == first


ESCAPES = {
    "up": {"share/../../../x": Content(b"")},
    "absolute": {"/x": Content(b"")},
    "link-up": {"share/x": Content(link="../../x")},
    "link-absolute": {"share/x": Content(link="/etc/passwd")},
    "link-by-a-link": {"a/b/c": Content(link="../.."), "x": Content(link="a/b/c/../y")},
    "behind-a-link": {"share": Content(link="lib"), "share/x": Content(b"")},
    "control": {"share/x\ny": Content(b"")},
    "device": {"share/x": Content(kind=tarfile.CHRTYPE)},
    "pipe": {"share/x": Content(kind=tarfile.FIFOTYPE)},
    "setuid": {"share/x": Content(mode=0o4755)},
    "setgid": {"share/x": Content(mode=0o2755)},
    "record": {"conda-meta/other-1.0-0.json": Content(b"{}")},
}


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
@pytest.mark.parametrize("files", ESCAPES.values(), ids=ESCAPES)
def test_a_member_that_leaves_the_prefix_is_refused(shop, add, files, suffix):
    listed = json.dumps({"paths": [], "paths_version": 1}).encode()
    package = Package("evil", "1.0", files=files, info={"paths.json": listed, "files": b""})
    (finding,) = refused(shop, add(package, suffix))
    assert finding.code == "build.package"
    assert "evil-1.0-0" in finding.subject
    assert re.search("prefix|behind a link|records|neither a file|setuid", finding.message)


@pytest.mark.parametrize("path", ["../x", "/x", "share/../../x", "share//x"])
@pytest.mark.parametrize("name", ["paths.json", "files"])
def test_a_listed_path_that_leaves_the_prefix_is_refused(shop, add, path, name):
    listed = {
        "paths.json": json.dumps({"paths": [{"_path": path, "path_type": "hardlink"}]}),
        "files": f"share/x\n{path}\n",
    }
    info = {name: listed[name].encode()}
    package = Package("evil", "1.0", files={"share/x": Content(b"")}, info=info)
    (finding,) = refused(shop, add(package))
    assert repr(path) in finding.message


def test_a_command_that_leaves_the_prefix_is_refused(shop, add):
    (finding,) = refused(shop, add(replace(PURE, entry_points=("../../x = pure:main",))))
    assert "../../x" in finding.message


def test_all_packages_are_looked_at_before_one_is_installed(shop, add):
    evil = [Package(n, "1.0", files=ESCAPES["up"]) for n in ("evil", "wicked")]
    findings = refused(shop, add(TOOL), *map(add, evil))
    assert [f.subject for f in findings] == ["evil-1.0-0.conda", "wicked-1.0-0.conda"]


def test_an_archive_of_another_package_is_refused(shop, add):
    (finding,) = refused(shop, replace(add(TOOL), version="1.1"))
    assert "'1.0'" in finding.message
    assert "'1.1'" in finding.message


NOT_ITS_INFORMATION = {
    "no-json": {"index.json": b"{"},
    "no-object": {"index.json": b"[]"},
    "no-name": {"index.json": b"{}"},
    "deep": {"paths.json": b"[" * 100_000},
    "no-paths": {"paths.json": b'{"paths": {"_path": 1}}'},
    "no-strings": {"paths.json": b'{"paths": [{"_path": 1}]}'},
    "no-text": {"files": b"\xff"},
    "no-noarch": {"link.json": b'{"noarch": "python"}'},
    "no-points": {"link.json": b'{"noarch": {"entry_points": [1]}}'},
}


@pytest.mark.parametrize("info", NOT_ITS_INFORMATION.values(), ids=NOT_ITS_INFORMATION)
def test_a_package_whose_information_is_not_well_formed_is_named(shop, add, info):
    package = add(TOOL)
    path = write_package(replace(TOOL, info=info), shop.root / "channel")
    (finding,) = refused(shop, replace(package, digest=shop.add_file(path)))
    assert finding.code == "build.package"
    assert finding.subject == "tool-1.0-0.conda"


def spoilt(archive, part):
    """Give the archive with one byte in its middle, or its last quarter, changed or gone."""
    data = bytearray(archive)
    if part == "cut":
        return bytes(data[: len(data) * 3 // 4])
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize("part", ["cut", "changed"])
@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
def test_an_archive_that_was_locked_damaged_is_named(shop, add, suffix, part):
    package = add(replace(TOOL, files={"x": Content(os.urandom(100_000))}), suffix)
    data = spoilt(shop.path(package.digest).read_bytes(), part)
    (finding,) = refused(shop, replace(package, digest=shop.add(data)))
    assert finding.code == "build.package"
    assert package.filename in finding.message


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_archive_that_has_changed_in_the_store_is_named_and_dropped(shop, add, when):
    package = add(TOOL)
    data = shop.path(package.digest).read_bytes()
    if when == "after":
        assert check([package], shop) == ()
    shop.path(package.digest).write_bytes(b"other")
    with pytest.raises(DamagedError, match=package.filename):
        installed([package], "3.11", shop)
    assert not shop.has(package.digest)  # so that it is fetched again
    shop.add(data)
    assert installed([package], "3.11", shop)


def test_an_archive_with_two_tars_of_files_is_refused(shop, add, tmp_path):
    """What is looked at might not be what py-rattler unpacks."""
    package = add(TOOL)
    path = tmp_path / "two.conda"
    path.write_bytes(shop.path(package.digest).read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("pkg-other.tar.zst", b"")
    (finding,) = refused(shop, replace(package, digest=shop.add_file(path)))
    assert "two tars" in finding.message


def test_what_is_no_archive_is_refused(shop, add):
    for data in (b"", b"no archive", b"PK\x05\x06" + bytes(18)):
        (finding,) = refused(shop, replace(add(TOOL), digest=shop.add(data)))
        assert finding.code == "build.package"


def test_a_package_that_lists_what_it_lacks_is_named_with_py_rattlers_words(shop, add):
    listed = {"paths": [{"_path": "share/x", "path_type": "hardlink"}], "paths_version": 1}
    package = add(Package("hollow", "1.0", info={"paths.json": json.dumps(listed).encode()}))
    with pytest.raises(ImagesmithError) as stopped:
        installed([package], "3.11", shop)
    (finding,) = stopped.value.findings
    assert finding.code == "build.package"
    assert "share/x" in stopped.value.log
    assert "Traceback" not in stopped.value.log
    assert not list((shop.root / "folders" / "conda").iterdir())


def test_a_link_script_is_not_run_and_told(shop, add, tmp_path):
    script = Content(f"#!/bin/sh\ntouch {tmp_path}/ran\n".encode(), 0o755)
    package = add(Package("scripted", "1.0", files={"bin/.scripted-post-link.sh": script}))
    (finding,) = check([package], shop)
    assert (finding.code, finding.severity) == ("build.link-script", Severity.WARNING)
    assert "bin/.scripted-post-link.sh" in finding.message
    members(shop, package)
    assert not (tmp_path / "ran").exists()


def test_a_script_of_activation_is_told(shop, add):
    package = add(Package("gdal", "1.0", files={"etc/conda/activate.d/gdal.sh": Content(b"")}))
    (finding,) = check([package], shop)
    assert (finding.code, finding.severity) == ("build.link-script", Severity.WARNING)
    assert "activates the environment" in finding.message


def test_a_distribution_that_a_wheel_brings_as_well_is_told(shop, add):
    info = "lib/python3.11/site-packages/Some_Name-1.0.dist-info/METADATA"
    package = add(Package("some-name", "1.0", files={info: Content(b"")}))
    assert check([package], shop, {"other"}) == ()
    (finding,) = check([package], shop, {"some-name"})
    assert (finding.code, finding.subject) == ("build.twice", "some-name")


def test_what_was_found_is_found_again_without_looking(shop, add):
    script = Content(b"#!/bin/sh\n", 0o755)
    package = add(Package("scripted", "1.0", files={"bin/.scripted-post-link.sh": script}))
    first = check([package], shop)
    shop.path(package.digest).unlink()
    assert check([package], shop) == first
