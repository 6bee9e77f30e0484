"""What is pulled is proved byte by byte, is for linux/amd64, and can stand below an image."""

import json
from types import SimpleNamespace

import httpx
import pytest
import tiny_image
from pushed_images import ENVIRONMENT, make_model

from imagesmith import base as bases
from imagesmith import pipeline
from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member
from imagesmith.progress import Silent
from imagesmith.publish.registry import RegistryPublisher
from imagesmith.registry import client
from imagesmith.registry.pull import pull
from imagesmith.registry.reference import parse
from imagesmith.store import Store, canonical, sha256

pytestmark = pytest.mark.registry


@pytest.fixture(autouse=True)
def alone_and_impatient(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(client, "_PAUSES", (0.01, 0.02, 0.03))


@pytest.fixture
def pushed(store, registry, name):
    image = make_model(store, "demo:1")
    RegistryPublisher(parse(f"{registry.address}/{name}:1"), store, Silent()).publish(image)
    return image


@pytest.fixture
def empty(tmp_path):
    return Store(tmp_path / "empty")


def refused(reference, store):
    with pytest.raises(ImagesmithError) as stopped:
        pull(parse(reference), store, Silent())
    (found,) = stopped.value.findings
    return found.code, stopped.value.exit_code


def put_manifest(registry, name, tag, media_type, manifest):
    data = canonical(manifest)
    url = f"http://{registry.address}/v2/{name}/manifests/{tag}"
    httpx.put(url, content=data, headers={"Content-Type": media_type}).raise_for_status()
    return sha256(data)


def test_an_image_comes_by_tag_and_by_digest(pushed, proxy, name, empty):
    for wanted in ("1", pushed.manifest.digest):
        mark = "@" if wanted.startswith("sha256") else ":"
        found = pull(parse(f"{proxy.address}/{name}{mark}{wanted}"), empty, Silent())
        assert found.manifest == pushed.manifest
    assert all(empty.has(blob.digest) for blob in pushed.descriptors())
    assert proxy.requests.count("GET blobs") == len(pushed.descriptors()) - 1


def test_a_digest_that_the_store_has_asks_nobody(pushed, proxy, name, store):
    reference = f"{proxy.address}/{name}@{pushed.manifest.digest}"
    assert pull(parse(reference), store, Silent()).manifest == pushed.manifest
    assert proxy.requests == []


def test_a_download_that_was_cut_goes_on_where_it_ended(pushed, proxy, name, empty):
    proxy.faults["GET blobs"] = ["cut:99"] * 4 + [f"cut:{ENVIRONMENT // 2}", ""]
    assert pull(parse(f"{proxy.address}/{name}:1"), empty, Silent()).manifest == pushed.manifest
    sizes = sum(blob.size for blob in pushed.descriptors())
    assert proxy.sent == sizes


def test_as_long_as_it_goes_on_a_line_may_break_any_number_of_times(
    pushed, proxy, name, empty, monkeypatch
):
    monkeypatch.setattr(client, "_PROGRESS", 1 << 18)
    proxy.faults["GET blobs"] = [f"cut:{1 << 18}"]
    assert pull(parse(f"{proxy.address}/{name}:1"), empty, Silent()).manifest == pushed.manifest


@pytest.mark.parametrize("fault", ["500", "429", "cut:0"])
@pytest.mark.parametrize("request_kind", ["GET manifests", "GET blobs"])
def test_what_passes_is_waited_for(pushed, proxy, name, empty, fault, request_kind):
    proxy.faults[request_kind] = [fault, ""]
    assert pull(parse(f"{proxy.address}/{name}:1"), empty, Silent()).manifest == pushed.manifest


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("500", "reach.registry", ExitCode.UNREACHABLE),
        ("cut:10", "reach.registry", ExitCode.UNREACHABLE),
        ("403", "build.denied", ExitCode.BUILD),
        ("lie", "build.digest", ExitCode.BUILD),
        ("404", "build.refused", ExitCode.BUILD),
    ],
)
@pytest.mark.parametrize("request_kind", ["GET manifests", "GET blobs"])
def test_a_faulty_registry_is_a_finding(
    pushed, proxy, name, empty, fault, code, status, request_kind
):
    proxy.faults[request_kind] = [fault]
    assert refused(f"{proxy.address}/{name}:1", empty) == (code, status)
    assert not any(".partial-" in path.name for path in empty.root.rglob("*"))


def test_of_an_index_the_image_for_linux_amd64_is_taken(pushed, registry, name, empty):
    def entry(machine, image):
        return {**image.as_dict(), "platform": {"os": "linux", "architecture": machine}}

    manifests = [entry("arm64", pushed.manifest), entry("amd64", pushed.manifest)]
    for tag, chosen in (("both", manifests), ("arm", manifests[:1])):
        index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": chosen}
        put_manifest(registry, name, tag, oci.INDEX, index)
    reference = f"{registry.address}/{name}"
    assert pull(parse(f"{reference}:both"), empty, Silent()).manifest == pushed.manifest
    assert refused(f"{reference}:arm", empty) == ("build.platform", ExitCode.BUILD)


def test_a_lone_image_of_another_architecture_is_a_finding(
    pushed, registry, name, store, empty, monkeypatch
):
    config = json.loads(pushed.blob(pushed.config_blob.digest).read_bytes())
    data = canonical({**config, "architecture": "arm64"})
    blob = oci.Descriptor(oci.CONFIG, store.add(data), len(data))
    manifest = json.loads(pushed.blob(pushed.manifest.digest).read_bytes())
    data = canonical({**manifest, "config": blob.as_dict()})
    arm = oci.load(store.blobs, oci.Descriptor(oci.MANIFEST, store.add(data), len(data)), "arm:1")
    RegistryPublisher(parse(f"{registry.address}/{name}:arm"), store, Silent()).publish(arm)
    assert refused(f"{registry.address}/{name}:arm", empty) == ("build.platform", ExitCode.BUILD)


def test_an_image_in_dockers_format_is_taken_in_ocis(pushed, registry, name, empty):
    docker = {
        oci.CONFIG: "application/vnd.docker.container.image.v1+json",
        oci.LAYER_GZIP: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    }
    text = pushed.blob(pushed.manifest.digest).read_text()
    for ours, theirs in docker.items():
        text = text.replace(ours, theirs)
    manifest = {**json.loads(text), "mediaType": client.DOCKER_MANIFEST}
    put_manifest(registry, name, "docker", client.DOCKER_MANIFEST, manifest)
    found = pull(parse(f"{registry.address}/{name}:docker"), empty, Silent())
    assert (found.manifest, found.layers) == (pushed.manifest, pushed.layers)


@pytest.mark.parametrize("manifest", [{}, {"config": 5, "layers": []}, {"layers": [5]}, {"a": "b"}])
def test_what_is_no_image_is_a_finding(proxy, pushed, name, empty, manifest, monkeypatch):
    data = canonical(manifest)
    monkeypatch.setattr(client.Repository, "manifest", lambda *_: (oci.MANIFEST, data))
    assert refused(f"{proxy.address}/{name}:1", empty) == ("build.damaged", ExitCode.BUILD)


def test_a_base_that_names_no_python_is_a_finding(registry, name, store, empty):
    image = tiny_image.make_image(store)
    reference = f"{registry.address}/{name}:1"
    RegistryPublisher(parse(reference), store, Silent()).publish(image)
    shop = SimpleNamespace(store=empty, progress=Silent())
    with pytest.raises(ImagesmithError) as stopped:
        pipeline.base_for("3.11", reference, shop)
    assert stopped.value.findings[0].code == "build.base-python"
    assert stopped.value.exit_code is ExitCode.BUILD


def test_a_base_is_found_in_a_registry(registry, name, store, empty):
    labels = {oci.LABEL_PYTHON: "3.11", oci.LABEL_GLIBC: "2.36"}
    layer = write_layer(store, [file_member("etc/base", b"base")], "base")
    config = oci.ImageConfig(labels=labels)
    image = oci.assemble(store, "base:1", (layer,), config, "1970-01-01T00:00:00Z")
    RegistryPublisher(parse(f"{registry.address}/{name}:1"), store, Silent()).publish(image)
    found = bases.find(empty, f"{registry.address}/{name}:1")
    assert found.manifest == image.manifest
    assert found.blobs == empty.blobs
