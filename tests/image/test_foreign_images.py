"""An image that is not ours, or that lies, is told in a finding that says what is wrong."""

import json
import tarfile

import pytest

from imagesmith.findings import ImagesmithError
from imagesmith.image import layout, oci
from imagesmith.image.find import find_image, find_model
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member
from imagesmith.publish.layout import LayoutPublisher
from imagesmith.store import Store, canonical, sha256

DOCKER = "application/vnd.docker"
LABELS = {oci.LABEL_MODEL: "m", oci.LABEL_VERSION: "1", oci.LABEL_INPUT_TYPE: "doubles"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def documents(store):
    """Give the manifest and the config of a good image as JSON data."""
    layers = (write_layer(store, [file_member("a", b"a")], "one"),)
    config = oci.ImageConfig(labels=LABELS, entrypoint=("/bin/true",))
    image = oci.assemble(store, "m:1", layers, config, "1970-01-01T00:00:00Z")
    blobs = (image.blob(blob.digest) for blob in (image.manifest, image.config_blob))
    return tuple(json.loads(path.read_bytes()) for path in blobs)


@pytest.fixture
def written(tmp_path, store):
    """Give a function that writes an image of these documents into a layout and names it."""

    def write(manifest, config, media_type=oci.MANIFEST):
        config_bytes = config if isinstance(config, bytes) else canonical(config)
        facts = {"digest": store.add(config_bytes), "size": len(config_bytes)}
        if isinstance(manifest, dict) and isinstance(manifest.get("config"), dict):
            manifest = {**manifest, "config": {**manifest["config"], **facts}}
        data = manifest if isinstance(manifest, bytes) else canonical(manifest)
        entry = {"mediaType": media_type, "digest": store.add(data), "size": len(data)}
        (store.root / "oci-layout").write_bytes(layout.VERSION)
        (store.root / "index.json").write_bytes(canonical({"manifests": [entry]}))
        return f"oci:{store.root}"

    return write


def refused(text, store, words):
    with pytest.raises(ImagesmithError, match=words) as stopped:
        find_image(text, store)
    assert stopped.value.findings[0].code == "build.damaged"


def test_the_documents_as_they_are_make_an_image(written, documents, store):
    assert find_model(written(*documents), store).layers[0].comment == "one"


def test_an_index_of_several_platforms_asks_for_one(written, documents, store):
    index = {"schemaVersion": 2, "manifests": []}
    for media_type in (oci.INDEX, f"{DOCKER}.distribution.manifest.list.v2+json"):
        text = written(index, documents[1], media_type)
        refused(text, store, "several platforms")


def test_dockers_media_types_are_named(written, documents, store):
    manifest, config = documents
    text = written(manifest, config, f"{DOCKER}.distribution.manifest.v2+json")
    refused(text, store, r"docker\.distribution\.manifest\.v2\+json")


@pytest.mark.parametrize("kind", ["tar+zstd", "tar", "nondistributable.v1.tar+gzip"])
def test_layers_that_are_not_gzip_are_named(written, documents, store, kind):
    manifest, config = documents
    media_type = f"application/vnd.oci.image.layer.v1.{kind}"
    layers = [{**layer, "mediaType": media_type} for layer in manifest["layers"]]
    refused(written({**manifest, "layers": layers}, config), store, kind.replace("+", r"\+"))


@pytest.mark.parametrize(
    "history",
    [
        None,
        [],
        [{"comment": "a"}, {"comment": "b"}],
        [{"empty_layer": True}, {"created_by": "x"}],
        [{"comment": None}],
    ],
)
def test_a_history_that_does_not_fit_is_no_obstacle(written, documents, store, history):
    manifest, config = documents
    text = written(manifest, {**config, "history": history})
    assert find_image(text, store).layers[0].comment == ""


LIES = {
    "no config": (lambda m, c: ({**m, "config": None}, c), "descriptor"),
    "no layers": (lambda m, c: ({**m, "layers": None}, c), "not an image's"),
    "a layer that is none": (lambda m, c: ({**m, "layers": [1]}, c), "descriptor"),
    "a size below zero": (
        lambda m, c: ({**m, "layers": [{**m["layers"][0], "size": -1}]}, c),
        "descriptor",
    ),
    "a digest that is a path": (
        lambda m, c: ({**m, "layers": [{**m["layers"][0], "digest": "sha256:../../x"}]}, c),
        "not a sha256",
    ),
    "a manifest that is a list": (lambda m, c: ([], c), "not an object"),
    "a manifest that is no JSON": (lambda m, c: (b"{", c), "Expecting"),
    "a manifest without an end": (lambda m, c: (b"[" * 100_000, c), "too deeply"),
    "a config that is no JSON": (lambda m, c: (m, b"\xff"), "utf-8"),
    "a config without rootfs": (lambda m, c: (m, {"config": {}}), "rootfs"),
    "more diff ids than layers": (
        lambda m, c: (m, {**c, "rootfs": {"diff_ids": 2 * c["rootfs"]["diff_ids"]}}),
        "2 diff ids",
    ),
    "a diff id that is none": (
        lambda m, c: (m, {**c, "rootfs": {"diff_ids": ["sha256:x"]}}),
        "not a sha256",
    ),
    "an environment of numbers": (lambda m, c: (m, {**c, "config": {"Env": [1]}}), "not an image"),
    "labels that are a list": (lambda m, c: (m, {**c, "config": {"Labels": [1]}}), "not an image"),
    "an entrypoint that is a number": (
        lambda m, c: (m, {**c, "config": {"Entrypoint": 1}}),
        "not an image",
    ),
}


@pytest.mark.parametrize(("lie", "words"), LIES.values(), ids=LIES)
def test_a_manifest_or_a_config_that_lies_is_refused(written, documents, store, lie, words):
    refused(written(*lie(*documents)), store, words)


INDEXES = {
    "no JSON": b"{",
    "nested without end": b"[" * 100_000,
    "a list": b"[]",
    "no manifests": b"{}",
    "manifests that are a number": b'{"manifests": 1}',
    "an entry that is a number": b'{"manifests": [1]}',
    "an entry without a digest": b'{"manifests": [{"size": 1}]}',
    "annotations that are a list": canonical(
        {"manifests": [{**oci.Descriptor("t", sha256(b""), 1).as_dict(), "annotations": [1]}]}
    ),
    "a size that is a text": canonical(
        {"manifests": [{"mediaType": "t", "digest": sha256(b""), "size": "1"}]}
    ),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_an_index_that_is_none_is_refused_wherever_it_is(
    written, documents, store, index, tmp_path
):
    text = written(*documents)
    image = find_image(text, store)
    (store.root / "index.json").write_bytes(index)
    for name in (text, f"{text}:m:1", "m:1"):
        refused(name, store, "cannot be read")
    with pytest.raises(ImagesmithError) as stopped:
        LayoutPublisher(store.root).publish(image)
    assert stopped.value.findings[0].code == "publish.damaged"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(store.root / "index.json", "index.json")
    refused(f"archive:{tmp_path}/a.tar", store, "cannot be read")


def test_a_blob_that_is_gone_or_of_another_size_is_told(written, documents, store):
    text = written(*documents)
    image = find_image(text, store)
    config = store.path(image.config_blob.digest)
    config.write_bytes(config.read_bytes() + b" ")
    refused(text, store, "has not")
    config.unlink()
    refused(text, store, "No such file")


def test_an_archive_of_an_old_engine_is_told(store, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
    refused(f"archive:{tmp_path}/a.tar", store, "no OCI archive")


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {**LABELS, oci.LABEL_INPUT_TYPE: "decimals"},
        {**LABELS, oci.LABEL_MODULES: "numpy"},
        {key: LABELS[key] for key in (oci.LABEL_MODEL, oci.LABEL_INPUT_TYPE)},
    ],
)
def test_an_image_without_a_models_labels_is_no_models(written, documents, store, labels):
    manifest, config = documents
    text = written(manifest, {**config, "config": {"Labels": labels}})
    with pytest.raises(ImagesmithError, match="not of a model") as stopped:
        find_model(text, store)
    assert stopped.value.findings[0].code == "usage.image"
