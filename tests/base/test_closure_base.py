"""The closure base: what Clipper's probes and a model need, nothing else, the same every time."""

import json
import subprocess
import tarfile
from dataclasses import replace

import pytest
from root_files import lacking

from imagesmith import base as bases
from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import layout, oci
from imagesmith.image.bytecode import base_python
from imagesmith.image.unpack import unpacked
from imagesmith.progress import Silent
from imagesmith.store import Store


@pytest.fixture(scope="module")
def members(base):
    (layer,) = base.layers
    with tarfile.open(base.blob(layer.blob.digest)) as tar:
        return {member.name: member for member in tar}


@pytest.fixture(scope="module")
def root(store, base):
    (layer,) = base.layers
    return unpacked(store, base.blob(layer.blob.digest), layer)


@pytest.mark.parametrize("name", ["python", "python3", "python3.11", "sh", "cat", "test"])
def test_the_programs_that_clippers_probes_use_are_on_path(base, members, name):
    assert "/usr/bin" in base.config.env["PATH"].split(":")
    assert f"usr/bin/{name}" in members


def test_it_starts_nothing_by_itself(base):
    assert base.config.entrypoint == base.config.cmd == ()


def test_its_labels_tell_python_glibc_and_packages(base):
    labels = base.config.labels
    assert labels[oci.LABEL_BASE] == "closure"
    assert labels[oci.LABEL_PYTHON] == "3.11"
    assert labels[oci.LABEL_GLIBC] == "2.36"
    assert labels[oci.LABEL_RPC] == "3"
    packages = labels["io.imagesmith.packages"].split(" ")
    assert packages == sorted(packages)
    assert {"libc6", "busybox", "libstdc++6"} <= {p.partition("=")[0] for p in packages}


def test_it_stays_under_50_megabytes_unpacked(store, base, members):
    assert sum(member.size for member in members.values()) < 50e6
    assert bases.described(base, store)["size"] < 50e6


def test_every_library_that_something_in_it_needs_is_there(root):
    assert lacking(root) == {}


def test_no_library_is_there_for_nothing(members):
    names = {name.rpartition("/")[2].partition(".so")[0] for name in members if ".so" in name}
    assert {"libm", "libmvec", "libstdc++", "libz", "libcrypt"} <= names
    assert not {"libkrb5", "libdb-5.3", "libncursesw", "libselinux", "libtirpc"} & names


def test_it_holds_only_plain_files_folders_and_links_without_privileges(members):
    for member in members.values():
        assert member.isreg() or member.isdir() or member.issym()
        assert not member.mode & 0o6000
        assert (member.uid, member.gid, member.mtime) == (0, 0, 0)


def test_every_link_leads_to_something_inside(root):
    for path in root.rglob("*"):
        if path.is_symlink():
            assert path.resolve(strict=True).is_relative_to(root), path


def test_it_has_merged_usr_and_the_mount_points(members):
    for name in ("bin", "sbin", "lib", "lib64"):
        assert members[name].linkname == f"usr/{name}"
    for name in ("proc", "sys", "dev/shm", "run", "model", "container", "opt"):
        assert members[name].isdir()
    assert members["tmp"].mode == 0o1777


def test_nothing_of_the_host_or_of_the_package_manager_is_in_it(members):
    assert not {"etc/hostname", "etc/resolv.conf", "etc/hosts", "etc/fstab"} & set(members)
    for folder in ("var", "etc/apt", "etc/dpkg", "etc/alternatives", "usr/share/doc"):
        assert folder not in members
    devices = [name for name in members if name.startswith("dev/")]
    assert devices == ["dev/shm"]


def test_the_standard_library_has_byte_code_and_no_tests(members):
    library = "usr/lib/python3.11"
    assert f"{library}/json/__pycache__/decoder.cpython-311.pyc" in members
    assert f"{library}/test" not in members
    assert f"{library}/distutils/core.py" in members


def test_python_has_its_extension_modules_and_data(root):
    code = """
import bz2, ctypes, decimal, distutils.version, json, lzma, sqlite3, ssl, uuid, zlib, zoneinfo
ctypes.CDLL("libstdc++.so.6")
zones = zoneinfo.available_timezones()
sqlite3.connect(":memory:").execute("select 1")
ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
print(json.dumps(["Europe/Berlin" in zones, json.__cached__]))
"""
    python = base_python(root, "3.11")
    env = {**python.env, "PYTHONTZPATH": str(root / "usr/share/zoneinfo")}
    done = subprocess.run([*python.argv, "-c", code], env=env, capture_output=True, check=True)
    has_zones, cached = json.loads(done.stdout)
    assert has_zones
    assert cached.endswith("json/__pycache__/__init__.cpython-311.pyc")


def test_the_certificate_authorities_are_one_file(root):
    bundle = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert bundle.count("-----BEGIN CERTIFICATE-----\n") > 100
    assert bundle.count("-----END CERTIFICATE-----\n") == bundle.count("-----BEGIN")
    assert (root / "usr/lib/ssl/cert.pem").resolve().read_text() == bundle


@pytest.mark.apt
@pytest.mark.long
def test_the_same_packages_give_the_same_digest(base, tmp_path):
    again = bases.make(Store(tmp_path), "3.11", Silent())
    if again.config.labels != base.config.labels:  # Debian has moved on since the base was made
        base = bases.make(Store(tmp_path / "b"), "3.11", Silent())
    assert again.manifest.digest == base.manifest.digest


@pytest.mark.apt
def test_without_a_mirror_in_reach_the_finding_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(ImagesmithError) as failed:
        bases.ensure(Store(tmp_path), "3.11", Silent())
    assert failed.value.exit_code is ExitCode.UNREACHABLE
    assert "apt" in failed.value.log


def test_without_mmdebstrap_the_finding_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImagesmithError) as failed:
        bases.make(Store(tmp_path), "3.11", Silent())
    (finding,) = failed.value.findings
    assert finding.code == "build.base-tool"
    assert "apt-get install mmdebstrap" in finding.remedy


def test_a_python_that_debian_lacks_is_a_finding(tmp_path):
    with pytest.raises(ImagesmithError) as failed:
        bases.ensure(Store(tmp_path), "3.7", Silent())
    assert failed.value.findings[0].code == "build.base-python"


def test_a_base_in_the_store_is_not_made_again(store, base, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert bases.ensure(store, "3.11", Silent()) == base


def test_it_is_found_by_name_version_and_digest(store, base):
    for reference in ("3.11", "closure-base:3.11", base.manifest.digest, base.pinned):
        assert bases.find(store, reference) == base
    assert base in bases.available(store)
    assert bases.find(store, "closure-base:2.7") is None


def test_it_is_found_in_a_layout_folder_that_holds_it_alone(store, base, tmp_path):
    copy = tmp_path / "blobs" / "sha256"
    copy.mkdir(parents=True)
    for blob in base.descriptors():
        (copy / base.blob(blob.digest).name).symlink_to(base.blob(blob.digest))
    layout.put(tmp_path, base)
    found = bases.find(store, f"oci:{tmp_path}")
    assert found is not None
    assert found.pinned == base.pinned

    other = oci.assemble(Store(tmp_path), "other:1", (), base.config, "1970-01-01T00:00:00Z")
    layout.put(tmp_path, other)
    with pytest.raises(ImagesmithError) as unclear:
        bases.find(store, f"oci:{tmp_path}")
    assert unclear.value.exit_code is ExitCode.USAGE


def test_one_from_elsewhere_that_is_damaged_is_refused(base, tmp_path):
    layout.put(tmp_path / "layout", base)
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for blob in base.descriptors():
        (blobs / base.blob(blob.digest).name).symlink_to(base.blob(blob.digest))
    layer = blobs / base.blob(base.layers[0].blob.digest).name
    layer.unlink()
    layer.write_bytes(b"another layer")
    with pytest.raises(ImagesmithError, match="expected sha256:") as refused:
        bases.find(Store(tmp_path / "store"), f"oci:{tmp_path}/layout")
    assert refused.value.findings[0].code == "build.damaged"


def test_one_of_which_a_part_is_gone_is_not_there(base, tmp_path):
    store = Store(tmp_path)
    for blob in (base.config_blob, base.manifest):
        store.add_file(base.blob(blob.digest))
    layout.put(store.root, replace(base, blobs=store.blobs))
    assert bases.find(store, "3.11") is None


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ImagesmithError) as failed:
        bases.ensure(Store(tmp_path / "file"), "3.11", Silent())
    assert failed.value.findings[0].code == "build.store"
