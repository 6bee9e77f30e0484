"""Beside a pushed image lie its bill of materials and its build record, for any tool to find."""

import json
import subprocess
import uuid

import httpx
import pytest
from pushed_images import with_model
from tiny_image import make_image

from imagesmith.findings import ImagesmithError
from imagesmith.image import oci
from imagesmith.progress import Noting, Silent
from imagesmith.publish import referrers
from imagesmith.publish.registry import RegistryPublisher
from imagesmith.record.record import BuildRecord, keep
from imagesmith.registry import client
from imagesmith.registry.reference import parse
from imagesmith.store import canonical, hex_of, sha256

pytestmark = [
    pytest.mark.registry,
    pytest.mark.usefixtures("nobody_is_logged_in", "impatient"),
]
SBOM = "application/spdx+json"
PROVENANCE = "application/vnd.in-toto+json"


@pytest.fixture
def model(store):
    image = make_image(store, "iris:7", uuid.uuid4().bytes)
    built(store, image)
    return image


def built(store, image):
    """Keep a record as a build would."""
    keep(
        store,
        BuildRecord(
            reference=image.reference,
            digest=image.manifest.digest,
            builder="layers",
            imagesmith="0.1.0",
            target="model.py:predict",
            revision="a" * 40,
            dirty=True,
            base="closure-base:3.11",
            base_digest=sha256(b"base"),
            python="3.11.2",
            platform="Linux-6.1-x86_64",
            started="2023-11-14T22:13:20Z",
            took=2.5,
            findings=("verify.not-compared",),
            compared=0,
            lock=sha256(b"lock"),
            template=None,
            dockerfile=store.add(b"FROM scratch\n"),
            sbom=store.add(b'{"spdxVersion":"SPDX-2.3"}' + b" " * 70_000),
            layers=("base", "environment", "model"),
        ),
    )


def push(image, store, address, name, tag="1"):
    """Push, and give the codes of what was found."""
    noting = Noting(Silent())
    RegistryPublisher(parse(f"{address}/{name}:{tag}"), store, noting).publish(image)
    return noting.codes


class Reader:
    """Reads a repository as any client of the distribution API would."""

    def __init__(self, registry, name):
        self._url = f"http://{registry.address}/v2/{name}"

    def manifest(self, wanted):
        accept = ", ".join((oci.MANIFEST, oci.INDEX))
        got = httpx.get(f"{self._url}/manifests/{wanted}", headers={"Accept": accept})
        return got.json() if got.is_success else None

    def put_index(self, tag, data):
        url, head = f"{self._url}/manifests/{tag}", {"Content-Type": oci.INDEX}
        httpx.put(url, content=canonical(data), headers=head).raise_for_status()

    def blob(self, digest):
        return httpx.get(f"{self._url}/blobs/{digest}", follow_redirects=True).content

    def listed(self, image):
        """Give the entries that refer to an image, by artifact type."""
        index = self.manifest(tag_of(image)) or {"manifests": []}
        return {one["artifactType"]: one for one in index["manifests"]}


@pytest.fixture
def reader(registry, name):
    return Reader(registry, name)


def tag_of(image):
    return f"sha256-{hex_of(image.manifest.digest)}"


def test_both_are_listed_with_what_they_are(model, store, registry, name, reader):
    assert push(model, store, registry.address, name) == []
    listed = reader.listed(model)
    assert set(listed) == {SBOM, PROVENANCE}
    assert listed[PROVENANCE]["annotations"] == {
        "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
        "in-toto.io/predicate-type": "https://slsa.dev/provenance/v1",
    }
    for kind, entry in listed.items():
        manifest = reader.manifest(entry["digest"])
        assert (manifest["artifactType"], manifest["subject"]) == (kind, model.manifest.as_dict())


def test_the_bill_of_materials_reads_back_as_it_was_kept(model, store, registry, name, reader):
    push(model, store, registry.address, name)
    (layer,) = reader.manifest(reader.listed(model)[SBOM]["digest"])["layers"]
    assert layer["annotations"] == {"org.opencontainers.image.title": "sbom.spdx.json"}
    assert reader.blob(layer["digest"]).rstrip() == b'{"spdxVersion":"SPDX-2.3"}'


def test_the_build_record_is_a_statement_of_provenance(model, store, registry, name, reader):
    push(model, store, registry.address, name)
    statement, recipe = reader.manifest(reader.listed(model)[PROVENANCE]["digest"])["layers"]
    assert reader.blob(recipe["digest"]) == b"FROM scratch\n"
    said = json.loads(reader.blob(statement["digest"]))
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["subject"] == [
        {"name": "iris:7", "digest": {"sha256": hex_of(model.manifest.digest)}}
    ]
    build, run = said["predicate"]["buildDefinition"], said["predicate"]["runDetails"]
    assert build["externalParameters"]["target"] == "model.py:predict"
    assert build["resolvedDependencies"][-1] == {
        "name": "project",
        "digest": {"gitCommit": "a" * 40},
        "annotations": {"dirty": True},
    }
    assert run["metadata"]["finishedOn"] == "2023-11-14T22:13:22Z"
    assert run["byproducts"][1]["digest"] == {"sha256": hex_of(recipe["digest"])}


def test_an_unchanged_image_costs_one_head_still(model, store, proxy, name):
    push(model, store, proxy.address, name)
    proxy.requests.clear()
    push(model, store, proxy.address, name)
    assert proxy.requests == ["HEAD manifests"]


def test_a_second_model_does_not_send_its_bill_of_materials_again(model, store, proxy, name):
    push(model, store, proxy.address, name)
    other = with_model(store, model, b"another model")
    built(store, other)
    proxy.received = 0
    push(other, store, proxy.address, name, "2")
    assert proxy.received <= other.layers[-1].blob.size + 64 * 1024
    proxy.received = 0
    push(other, store, proxy.address, f"{name}/sibling", "2")
    assert proxy.received <= 64 * 1024


def test_what_others_have_listed_stays(model, store, registry, name, reader):
    push(with_model(store, model, b"another"), store, registry.address, name, "2")
    foreign = reader.manifest("2")
    theirs = {
        **oci.Descriptor(
            oci.MANIFEST, sha256(canonical(foreign)), len(canonical(foreign))
        ).as_dict(),
        "artifactType": "application/x-signature",
    }
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "annotations": {"a": "b"}}
    reader.put_index(tag_of(model), {**index, "manifests": [theirs]})
    push(model, store, registry.address, name)
    assert reader.listed(model)["application/x-signature"] == theirs
    assert set(reader.listed(model)) == {SBOM, PROVENANCE, "application/x-signature"}
    assert reader.manifest(tag_of(model))["annotations"] == {"a": "b"}


def test_a_list_that_somebody_writes_at_the_same_time_is_mended(
    model, store, registry, name, reader, monkeypatch
):
    put = client.Repository.put_manifest
    seen = []

    def overwritten(self, wanted, media_type, data):
        told = put(self, wanted, media_type, data)
        if wanted == tag_of(model) and not seen:
            seen.append(wanted)
            reader.put_index(wanted, {**json.loads(data), "manifests": []})
        return told

    monkeypatch.setattr(client.Repository, "put_manifest", overwritten)
    push(model, store, registry.address, name)
    assert seen
    assert set(reader.listed(model)) == {SBOM, PROVENANCE}


def test_pushing_again_under_another_tag_lists_nothing_twice(model, store, registry, name, reader):
    push(model, store, registry.address, name)
    push(model, store, registry.address, name, "latest")
    assert len(reader.manifest(tag_of(model))["manifests"]) == 2


def test_a_registry_that_lists_them_itself_gets_no_tag_for_it(model, store, proxy, name, reader):
    proxy.faults["PUT manifests"] = ["", "subject"]
    push(model, store, proxy.address, name)
    assert reader.manifest(tag_of(model)) is None
    assert reader.manifest("1") is not None


@pytest.mark.parametrize(("fault", "passed"), [("400", 1), ("405", 2), ("403", 3)])
def test_a_registry_that_takes_no_artifacts_keeps_the_image(
    model, store, proxy, name, reader, fault, passed
):
    proxy.faults["PUT manifests"] = [*[""] * passed, fault, ""]
    assert push(model, store, proxy.address, name) == ["publish.referrers"]
    assert reader.manifest("1")["layers"] == [layer.blob.as_dict() for layer in model.layers]


def test_something_else_under_their_tag_is_left_alone(model, store, registry, name, reader):
    push(model, store, registry.address, name, tag_of(model))
    before = reader.manifest(tag_of(model))
    assert push(model, store, registry.address, name) == ["publish.referrers"]
    assert reader.manifest(tag_of(model)) == before
    assert reader.manifest("1") == before


@pytest.mark.parametrize("fault", ["500", "cut:0", "lie"])
def test_a_push_that_fails_in_between_moves_no_tag_and_is_whole_the_next_time(
    model, store, proxy, name, reader, fault
):
    proxy.faults["PUT manifests"] = ["", "", fault]
    with pytest.raises(ImagesmithError):
        push(model, store, proxy.address, name)
    assert reader.manifest("1") is None
    proxy.faults.clear()
    assert push(model, store, proxy.address, name) == []
    assert set(reader.listed(model)) == {SBOM, PROVENANCE}


@pytest.mark.parametrize("fault", ["429", "503", "cut:0"])
def test_what_passes_is_waited_for_with_them_too(model, store, proxy, name, reader, fault):
    proxy.faults["PUT manifests"] = ["", "", fault, fault, ""]
    assert push(model, store, proxy.address, name) == []
    assert set(reader.listed(model)) == {SBOM, PROVENANCE}


def test_an_image_from_elsewhere_has_none(store, registry, name, reader):
    image = make_image(store, "iris:8", uuid.uuid4().bytes)
    push(image, store, registry.address, name)
    assert reader.listed(image) == {}


def test_what_the_store_has_lost_is_left_out(model, store):
    whole = referrers.referrers_of(model, store)
    assert [len(one.blobs) for one in whole] == [1, 2]
    for blob, _ in (whole[0].blobs[0], whole[1].blobs[1]):
        store.path(blob.digest).unlink()
    (left,) = referrers.referrers_of(model, store)
    assert [title for _, title in left.blobs] == ["provenance.json"]


@pytest.mark.skopeo
def test_skopeo_copies_what_refers_to_an_image(model, store, registry, name, reader, tmp_path):
    push(model, store, registry.address, name)
    digest = reader.listed(model)[SBOM]["digest"]
    source = f"docker://{registry.address}/{name}@{digest}"
    place = f"dir:{tmp_path / 'copied'}"
    quiet = ["skopeo", "copy", "-q", "--src-tls-verify=false"]
    subprocess.run([*quiet, source, place], check=True)
    manifest = json.loads((tmp_path / "copied" / "manifest.json").read_text())
    assert manifest["artifactType"] == SBOM
