"""A push sends what the registry lacks, survives what passes, and never leaves half an image."""

import json
import random
import subprocess
import time
import uuid

import httpx
import pytest
from engines import docker_registry
from pushed_images import ENVIRONMENT, make_model, with_model

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member
from imagesmith.progress import Silent
from imagesmith.publish.registry import RegistryPublisher
from imagesmith.registry import upload
from imagesmith.registry.pull import pull
from imagesmith.registry.reference import parse
from imagesmith.store import Store

pytestmark = [
    pytest.mark.registry,
    pytest.mark.usefixtures("nobody_is_logged_in", "impatient"),
]
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def model(store):
    return make_model(store, "demo:1", uuid.uuid4().bytes, seed=uuid.uuid4().int)


def push(image, store, address, name, tag="1"):
    RegistryPublisher(parse(f"{address}/{name}:{tag}"), store, Silent()).publish(image)


def tagged(registry, name, tag="1"):
    """Ask the registry itself, behind the proxy, what a tag names."""
    url = f"http://{registry.address}/v2/{name}/manifests/{tag}"
    accept = "application/vnd.oci.image.manifest.v1+json"
    response = httpx.head(url, headers={"Accept": accept})
    return response.headers.get("Docker-Content-Digest") if response.is_success else None


def refused(image, store, address, name):
    with pytest.raises(ImagesmithError) as stopped:
        push(image, store, address, name)
    (found,) = stopped.value.findings
    return found.code, stopped.value.exit_code, found


def test_what_is_pushed_has_our_digest_and_reads_back(model, store, registry, name, tmp_path):
    push(model, store, registry.address, name)
    assert tagged(registry, name) == model.manifest.digest
    pulled = pull(parse(f"{registry.address}/{name}:1"), Store(tmp_path / "other"), Silent())
    assert (pulled.manifest, pulled.layers, pulled.config) == (
        model.manifest,
        model.layers,
        model.config,
    )


def test_an_unchanged_image_costs_one_head(model, store, proxy, name):
    push(model, store, proxy.address, name)
    proxy.requests.clear()
    push(model, store, proxy.address, name)
    assert proxy.requests == ["HEAD manifests"]


def test_asking_first_whether_it_can_be_pushed_costs_no_second_head(model, store, proxy, name):
    push(model, store, proxy.address, name)
    proxy.requests.clear()
    publisher = RegistryPublisher(parse(f"{proxy.address}/{name}:1"), store, Silent())
    publisher.check()
    publisher.check()
    publisher.publish(model)
    assert proxy.requests == ["HEAD manifests"]


def test_what_was_asked_first_counts_for_one_push_alone(model, store, registry, name):
    publisher = RegistryPublisher(parse(f"{registry.address}/{name}:1"), store, Silent())
    for image in (model, with_model(store, model, b"newer"), model):
        publisher.check()
        publisher.publish(image)
        assert tagged(registry, name) == image.manifest.digest


def test_a_second_model_sends_its_model_layer_and_config_alone(model, store, proxy, name):
    push(model, store, proxy.address, name)
    other = with_model(store, model, b"another model")
    proxy.received = 0
    push(other, store, proxy.address, name, "2")
    own = other.layers[-1].blob.size + other.config_blob.size
    # The manifest travels twice: by its digest, then under the tag.
    assert proxy.received == own + 2 * other.manifest.size


def test_another_repository_of_the_registry_gets_its_blobs_mounted(model, store, proxy, name):
    push(model, store, proxy.address, name)
    proxy.received = 0
    push(model, store, proxy.address, f"{name}/sibling")
    assert proxy.received == 2 * model.manifest.size


def test_a_sibling_that_is_gone_is_no_hindrance(model, store, registry, proxy, name):
    publisher = RegistryPublisher(parse(f"{proxy.address}/{name}:1"), store, Silent())
    for blob in model.descriptors():
        store.remember("pushed", publisher._key(blob), "never/was")
    publisher.publish(model)
    assert tagged(registry, name) == model.manifest.digest


@pytest.mark.parametrize(
    "request_kind",
    [
        "HEAD manifests",
        "HEAD blobs",
        "POST uploads",
        "PATCH uploads",
        "PUT uploads",
        "PUT manifests",
    ],
)
@pytest.mark.parametrize("fault", ["429", "500", "503", "cut:0"])
def test_what_passes_is_waited_for(model, store, registry, proxy, name, request_kind, fault):
    proxy.faults[request_kind] = [fault, ""]
    push(model, store, proxy.address, name)
    assert tagged(registry, name) == model.manifest.digest


def test_a_connection_cut_in_the_middle_of_a_blob_is_mended(model, store, registry, proxy, name):
    proxy.faults["PATCH uploads"] = [f"cut:{ENVIRONMENT // 2}"] * 3 + [""]
    push(model, store, proxy.address, name)
    assert tagged(registry, name) == model.manifest.digest


def test_an_upload_goes_on_where_the_registry_says_that_it_stands(
    model, store, registry, proxy, name
):
    proxy.faults["PATCH uploads"] = ["keep:7", "keep:7", "keep:7", "keep:7", "keep:99", ""]
    push(model, store, proxy.address, name)
    sizes = sum(blob.size for blob in model.descriptors())
    assert proxy.received == sizes + model.manifest.size  # no byte of a blob twice
    assert tagged(registry, name) == model.manifest.digest


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(upload, "_PART", 1 << 20)


def test_a_big_blob_goes_in_parts(model, store, registry, proxy, name, small_parts):
    push(model, store, proxy.address, name)
    parts = -(-model.layers[1].blob.size // (1 << 20))
    assert proxy.requests.count("PATCH uploads") == parts + len(model.layers) - 1 + 1  # the config
    assert tagged(registry, name) == model.manifest.digest


def test_of_a_cut_upload_the_last_part_alone_goes_again(store, registry, proxy, name, small_parts):
    heavy = random.Random(name).randbytes(5 << 20)
    layer = write_layer(store, [file_member("heavy", heavy)], "heavy")
    image = oci.assemble(store, "one:1", (layer,), oci.ImageConfig(), "1970-01-01T00:00:00Z")
    proxy.faults["PATCH uploads"] = ["", "", "", f"lose:{1 << 19}", ""]
    push(image, store, proxy.address, name)
    sizes = sum(blob.size for blob in image.descriptors())
    assert proxy.received <= sizes + image.manifest.size + (1 << 19)
    assert tagged(registry, name) == image.manifest.digest


def test_as_long_as_it_goes_on_a_line_may_break_any_number_of_times(
    store, registry, proxy, name, small_parts
):
    heavy = random.Random(name).randbytes(8 << 20)
    layer = write_layer(store, [file_member("heavy", heavy)], "heavy")
    image = oci.assemble(store, "one:1", (layer,), oci.ImageConfig(), "1970-01-01T00:00:00Z")
    broken = ["", "lose:9"] * 20
    proxy.faults["PATCH uploads"] = [*broken, ""]
    push(image, store, proxy.address, name)
    assert tagged(registry, name) == image.manifest.digest


def test_a_registry_that_takes_no_parts_gets_the_whole(
    model, store, registry, proxy, name, small_parts
):
    proxy.refused["PATCH uploads"] = "Content-Range"
    push(model, store, proxy.address, name)
    assert tagged(registry, name) == model.manifest.digest


def test_a_registry_grows_by_the_models_alone(store, name, tmp_path):
    environment = make_model(store, "demo:1")
    models = [with_model(store, environment, f"model {n}".encode()) for n in range(20)]
    with docker_registry(tmp_path / "own") as own:
        push(models[0], store, own.address, name)
        before = kept(tmp_path / "own")
        for number, model in enumerate(models[1:]):
            push(model, store, own.address, name, f"v{number}")
        grown = kept(tmp_path / "own") - before
    own_bytes = [
        model.layers[-1].blob.size + model.config_blob.size + model.manifest.size
        for model in models[1:]
    ]
    assert grown == sum(own_bytes)


def kept(folder):
    """Give the bytes of all blobs in a registry's storage."""
    return sum(path.stat().st_size for path in folder.glob("data/**/blobs/**/data"))


def test_retry_after_is_heeded(model, store, registry, proxy, name):
    proxy.faults["POST uploads"] = ["429", ""]
    proxy.headers = {"Retry-After": "1"}
    began = time.monotonic()
    push(model, store, proxy.address, name)
    assert time.monotonic() - began >= 1
    assert tagged(registry, name) == model.manifest.digest


@pytest.mark.parametrize("request_kind", ["HEAD manifests", "PATCH uploads", "PUT manifests"])
@pytest.mark.parametrize("fault", ["500", "429", "cut:0"])
def test_what_does_not_pass_is_a_finding(model, store, registry, proxy, name, request_kind, fault):
    proxy.faults[request_kind] = [fault]
    code, status, found = refused(model, store, proxy.address, name)
    assert (code, status) == ("reach.registry", ExitCode.UNREACHABLE)
    assert found.subject == proxy.address
    assert tagged(registry, name) is None


def test_a_registry_that_is_down_is_a_finding(model, store, name):
    code, status, _ = refused(model, store, NOWHERE, name)
    assert (code, status) == ("reach.registry", ExitCode.UNREACHABLE)


@pytest.mark.parametrize("request_kind", ["HEAD manifests", "POST uploads", "PUT manifests"])
@pytest.mark.parametrize("fault", ["401", "403"])
def test_a_login_that_is_refused_names_docker_login(
    model, store, registry, proxy, name, request_kind, fault
):
    proxy.faults[request_kind] = [fault]
    proxy.headers = {"WWW-Authenticate": 'Basic realm="here"'}
    code, status, found = refused(model, store, proxy.address, name)
    assert (code, status) == ("publish.denied", ExitCode.PUBLISH)
    assert f"docker login {proxy.address}" in found.remedy
    assert tagged(registry, name) is None


def test_what_the_registry_says_of_a_refusal_is_told(model, store, registry, proxy, name):
    proxy.faults["PUT uploads"] = ["413"]
    code, _, found = refused(model, store, proxy.address, name)
    assert code == "publish.refused"
    assert "413, Request Entity Too Large" in found.message
    assert tagged(registry, name) is None


@pytest.mark.parametrize("request_kind", ["PUT uploads", "PUT manifests"])
def test_a_registry_that_lies_about_a_digest_gets_no_tag(
    model, store, registry, proxy, name, request_kind
):
    proxy.faults[request_kind] = ["lie"]
    code, status, _ = refused(model, store, proxy.address, name)
    assert (code, status) == ("publish.digest", ExitCode.PUBLISH)
    assert tagged(registry, name) is None


def test_a_tag_that_is_there_stays_when_the_push_fails(model, store, registry, proxy, name):
    push(model, store, proxy.address, name)
    proxy.faults["PATCH uploads"] = ["500"]
    refused(with_model(store, model, b"newer"), store, proxy.address, name)
    assert tagged(registry, name) == model.manifest.digest


@pytest.mark.parametrize("spoilt", [b"", b"x" * 100, b"x" * (2 * ENVIRONMENT)])
def test_a_damaged_layer_is_not_pushed(model, store, registry, name, spoilt):
    model.blob(model.layers[1].blob.digest).write_bytes(spoilt)
    code, _, _ = refused(model, store, registry.address, name)
    assert code == "publish.damaged"
    assert tagged(registry, name) is None


def test_a_reference_with_a_digest_is_no_destination(model, store):
    reference = parse(f"{NOWHERE}/demo@{model.manifest.digest}")
    for ask in (lambda p: p.check(), lambda p: p.publish(model)):
        with pytest.raises(ImagesmithError) as stopped:
            ask(RegistryPublisher(reference, store, Silent()))
        assert stopped.value.findings[0].code == "usage.reference"


@pytest.mark.skopeo
def test_skopeo_and_the_registry_agree_about_it(model, store, registry, name, tmp_path):
    push(model, store, registry.address, name)
    source = f"docker://{registry.address}/{name}:1"
    plain = ["--tls-verify=false", source]
    told = subprocess.run(["skopeo", "inspect", *plain], capture_output=True, check=True)
    assert json.loads(told.stdout)["Digest"] == model.manifest.digest
    copied = tmp_path / "copied"
    quiet = ["skopeo", "copy", "-q", "--src-tls-verify=false"]
    subprocess.run([*quiet, source, f"oci:{copied}:demo"], check=True)
    index = json.loads((copied / "index.json").read_text())
    assert index["manifests"][0]["digest"] == model.manifest.digest


@pytest.mark.engine
def test_docker_pulls_it_by_the_digest_that_we_print(model, store, registry, name, engine):
    push(model, store, registry.address, name)
    pinned = f"{registry.address}/{name}@{model.manifest.digest}"
    engine.run("pull", "--quiet", pinned)
    image_id = engine.run("inspect", "--format", "{{.Id}}", pinned).stdout.strip()
    engine.run("rmi", pinned)
    assert image_id == model.config_blob.digest
