"""What a manifest says of its image, and of what else it may refer to."""

import json
from dataclasses import replace

import pytest

from imagesmith.build.layers import LayersBuilder
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.plan import FilesLayer, ImagePlan
from imagesmith.image.tar import file_member
from imagesmith.progress import Silent
from imagesmith.store import Store, sha256

CREATED = "2023-11-14T22:13:20Z"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def plan_in(store):
    """Plan the image of a model over a base of one file."""
    layer = write_layer(store, [file_member("etc/os-release", b"ID=tiny\n")], "tiny")
    base = oci.assemble(store, "closure-base:3.11", (layer,), oci.ImageConfig(), CREATED)
    layers = (FilesLayer("model", texts={"model/func.pkl": b"model"}),)
    return ImagePlan("iris:7", base, layers, oci.ImageConfig(user="1000:1000"), CREATED)


def built(store, plan):
    return LayersBuilder(store, Silent()).build(plan)


def manifest_of(image):
    return json.loads(image.blob(image.manifest.digest).read_bytes())


def test_an_image_names_itself_its_time_and_its_base(store):
    plan = plan_in(store)
    assert manifest_of(built(store, plan))["annotations"] == {
        "org.opencontainers.image.title": "iris",
        "org.opencontainers.image.version": "7",
        "org.opencontainers.image.created": CREATED,
        "org.opencontainers.image.base.name": "closure-base:3.11",
        "org.opencontainers.image.base.digest": plan.base.manifest.digest,
    }


def test_a_base_that_had_none_has_none(store):
    assert "annotations" not in manifest_of(plan_in(store).base)


def test_they_are_the_same_wherever_and_whenever_it_is_built(store, tmp_path):
    elsewhere = Store(tmp_path / "other")
    here, there = (built(one, plan_in(one)) for one in (store, elsewhere))
    assert here.manifest == there.manifest


def test_they_are_read_back_with_the_image(store):
    image = built(store, plan_in(store))
    assert oci.load(store.blobs, image.manifest, image.reference) == image


@pytest.mark.parametrize("annotations", [[], "title", 7])
def test_annotations_that_are_none_make_no_image(store, annotations):
    image = built(store, plan_in(store))
    data = json.dumps({**manifest_of(image), "annotations": annotations or [1]}).encode()
    spoilt = oci.Descriptor(oci.MANIFEST, store.add(data), len(data))
    with pytest.raises(ValueError, match="not an image's"):
        oci.load(store.blobs, spoilt, image.reference)


def test_an_artifact_refers_to_its_image_and_names_its_files(store):
    image = built(store, plan_in(store))
    blob = oci.Descriptor("text/plain", sha256(b"hello"), 5)
    made = json.loads(
        oci.artifact(image.manifest, "text/x-greeting", [(blob, "hi.txt")], {"a": "b"})
    )
    assert made["subject"] == image.manifest.as_dict()
    assert made["artifactType"] == "text/x-greeting"
    assert made["annotations"] == {"a": "b"}
    assert made["config"]["digest"] == sha256(b"{}")
    (layer,) = made["layers"]
    assert layer == {**blob.as_dict(), "annotations": {"org.opencontainers.image.title": "hi.txt"}}


def test_the_layers_of_an_image_do_not_depend_on_them(store):
    plan = plan_in(store)
    one, other = built(store, plan), built(store, replace(plan, reference="iris:8"))
    assert one.layers == other.layers
    assert one.manifest != other.manifest
