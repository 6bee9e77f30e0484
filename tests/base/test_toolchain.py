"""The toolchain: what wheels are built in. It is made as bases are, and is none."""

import tarfile

import pytest

from imagesmith import base as bases
from imagesmith.image import oci


@pytest.fixture(scope="module")
def members(toolchain):
    (layer,) = toolchain.layers
    with tarfile.open(toolchain.blob(layer.blob.digest)) as tar:
        return {member.name: member for member in tar}


def test_it_has_what_the_base_has(base, members):
    (layer,) = base.layers
    with tarfile.open(base.blob(layer.blob.digest)) as tar:
        assert {member.name for member in tar} <= members.keys()


@pytest.mark.parametrize("name", ["gcc", "g++", "cc", "c++", "ar", "ld", "make", "pkg-config"])
def test_the_programs_that_builds_call_are_on_path(members, name):
    assert f"usr/bin/{name}" in members


def test_the_headers_of_python_and_of_c_are_there(members):
    for name in ("python3.11/Python.h", "stdio.h", "c++/12/vector", "zlib.h"):
        assert f"usr/include/{name}" in members


def test_it_stays_under_240_megabytes_unpacked(members):
    assert sum(member.size for member in members.values()) < 240e6


def test_its_links_lead_inside(members):
    for name, member in members.items():
        if member.issym():
            assert not member.linkname.startswith("/"), name


def test_it_is_of_the_same_glibc_as_the_base(base, toolchain):
    labels = toolchain.config.labels
    assert labels[oci.LABEL_GLIBC] == base.config.labels[oci.LABEL_GLIBC]
    assert labels[oci.LABEL_PYTHON] == "3.11"


def test_no_image_can_be_made_to_stand_on_it(store, toolchain):
    assert toolchain.reference == "closure-base-build:3.11"
    assert toolchain not in bases.available(store)
    for reference in ("closure-base-build:3.11", toolchain.manifest.digest):
        assert bases.find(store, reference) is None
