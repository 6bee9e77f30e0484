"""The bill of materials says what an image is made of, to any reader of SPDX."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL
from spdx_tools.spdx.model import RelationshipType
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from imagesmith.image import oci
from imagesmith.image.sbom import sbom
from imagesmith.resolve.lock import Lock, LockedPackage, LockedSource, LockedWheel
from imagesmith.resolve.platform import Target
from imagesmith.store import sha256

CREATED = "1970-01-01T00:00:00Z"
DEBIAN = "libc6=2.36-9+deb12u10 libstdc++6=12.2.0-14 python3.11=3.11.2-6 tzdata=1:2024a-0~deb12"
# Names and versions as their fields' rules allow them (PEP 503, PEP 440, Debian policy 5.6).
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.+_-]{0,20}[a-z0-9])?", fullmatch=True)
VERSIONS = st.from_regex(r"([0-9]{1,2}[:!])?[0-9][A-Za-z0-9.+~-]{0,20}", fullmatch=True)


def wheel(name="numpy", version="2.1.0+cpu", source=None):
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    url = f"https://index.example/{filename}"
    return LockedWheel(name, version, filename, url, sha256(filename.encode()), source)


def package(name, *requires, subdir="linux-64", ending=".conda"):
    filename = f"{name}-1.0-h1_0{ending}"
    url = f"https://channel.example/{subdir}/{filename}"
    digest = sha256(filename.encode())
    return LockedPackage(name, "1.0", "h1_0", subdir, filename, url, digest, "", requires)


LOCK = Lock(
    Target("3.11", "2.36"),
    (wheel(), wheel("own", "1.0", LockedSource("https://git.example/own", sha256(b"s"), "a" * 40))),
    (
        package("libblas", "libgfortran >=5", "__glibc >=2.17,<3.0.a0"),
        package("libgfortran", ending=".tar.bz2"),
        package("_tidy_mutex", subdir="noarch"),
    ),
)


def base_with(label):
    labels = {oci.LABEL_PACKAGES: label} if label else {}
    manifest = oci.Descriptor(oci.MANIFEST, sha256(label.encode()), 2)
    config = oci.ImageConfig(labels=labels)
    return oci.Image("closure-base:3.11", manifest, (), config, manifest, Path("nowhere"))


def read(data):
    return json.loads(data)


def purls(document):
    named = (one.get("externalRefs", ()) for one in document["packages"])
    return [ref["referenceLocator"] for refs in named for ref in refs]


@pytest.mark.parametrize("lock", [LOCK, Lock(Target("3.9", "2.31"), ())], ids=["full", "empty"])
@pytest.mark.parametrize("label", [DEBIAN, ""], ids=["debian", "unknown"])
def test_a_reader_of_spdx_finds_it_valid_and_whole(lock, label, tmp_path):
    data = sbom(lock, base_with(label), CREATED)
    (tmp_path / "sbom.spdx.json").write_bytes(data)
    document = parse_file(str(tmp_path / "sbom.spdx.json"))
    assert validate_full_spdx_document(document) == []
    expected = {"environment", "base"} | {one.name for one in lock.artifacts}
    expected |= {item.partition("=")[0] for item in label.split()}
    assert {one.name for one in document.packages} == expected
    kinds = [one.relationship_type for one in document.relationships]
    assert kinds.count(RelationshipType.DESCRIBES) == 1
    assert kinds.count(RelationshipType.CONTAINS) == len(document.packages) - 2


def test_each_kind_of_package_has_the_name_that_scanners_know():
    assert purls(read(sbom(LOCK, base_with(DEBIAN), CREATED))) == [
        "pkg:conda/libblas@1.0?build=h1_0&subdir=linux-64&type=conda",
        "pkg:conda/libgfortran@1.0?build=h1_0&subdir=linux-64&type=tar.bz2",
        "pkg:conda/_tidy_mutex@1.0?build=h1_0&subdir=noarch&type=conda",
        "pkg:pypi/numpy@2.1.0%2Bcpu",
        "pkg:pypi/own@1.0",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10",
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14",
        "pkg:deb/debian/python3.11@3.11.2-6",
        "pkg:deb/debian/tzdata@1:2024a-0~deb12",
    ]


@given(NAMES, VERSIONS)
def test_a_reader_of_purls_reads_back_what_was_named(name, version):
    document = read(sbom(Lock(LOCK.target, ()), base_with(f"{name}={version}"), CREATED))
    (purl,) = purls(document)
    read_back = PackageURL.from_string(purl)
    assert (read_back.type, read_back.namespace) == ("deb", "debian")
    assert (read_back.name, read_back.version) == (name, version)


@given(st.lists(NAMES, unique=True, max_size=5))
def test_no_two_packages_share_an_identifier(names):
    label = " ".join(f"{name}=1" for name in names)
    wheels = tuple(wheel(name) for name in names)
    document = read(sbom(Lock(LOCK.target, wheels), base_with(label), CREATED))
    identities = [one["SPDXID"] for one in document["packages"]]
    assert len(set(identities)) == len(identities) == 2 + 2 * len(names)


def test_what_conda_says_of_dependencies_is_told():
    document = read(sbom(LOCK, base_with(""), CREATED))
    pairs = [
        (one["spdxElementId"], one["relatedSpdxElement"])
        for one in document["relationships"]
        if one["relationshipType"] == "DEPENDS_ON"
    ]
    assert pairs == [
        ("SPDXRef-environment", "SPDXRef-base"),
        ("SPDXRef-conda-libblas", "SPDXRef-conda-libgfortran"),
    ]


def test_a_wheel_that_was_made_here_names_its_source_but_not_its_place():
    data = sbom(LOCK, base_with(""), CREATED)
    assert f"made from the source {sha256(b's')}, commit {'a' * 40}".encode() in data
    assert b"git.example" not in data


def test_where_packages_came_from_is_no_part_of_it():
    mirrored = replace(
        LOCK,
        wheels=tuple(replace(one, url="https://mirror.example/x") for one in LOCK.wheels),
        packages=tuple(replace(one, url="https://mirror.example/y") for one in LOCK.packages),
    )
    assert sbom(mirrored, base_with(DEBIAN), CREATED) == sbom(LOCK, base_with(DEBIAN), CREATED)


@pytest.mark.parametrize(
    ("lock", "label", "created"),
    [
        (replace(LOCK, wheels=(wheel(version="2.1.1"),)), DEBIAN, CREATED),
        (replace(LOCK, packages=()), DEBIAN, CREATED),
        (LOCK, "libc6=2.36-9+deb12u11", CREATED),
        (LOCK, DEBIAN, "2023-11-14T22:13:20Z"),
    ],
    ids=["wheel", "package", "base", "time"],
)
def test_another_document_has_another_namespace(lock, label, created):
    first = read(sbom(LOCK, base_with(DEBIAN), CREATED))
    other = read(sbom(lock, base_with(label), created))
    assert first["documentNamespace"] != other["documentNamespace"]
    assert other["creationInfo"]["created"] == created


@pytest.mark.parametrize("label", ["=", "a", "=1 b=", "a=1 a=2", "é=\u2028"])
def test_a_label_that_somebody_else_wrote_does_no_harm(label, tmp_path):
    (tmp_path / "sbom.spdx.json").write_bytes(sbom(LOCK, base_with(label), CREATED))
    document = parse_file(str(tmp_path / "sbom.spdx.json"))
    assert validate_full_spdx_document(document) == []
