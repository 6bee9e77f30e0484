"""An engine gets the layers that it lacks, says what it has, and its failures are findings."""

import io
import json
import tarfile
import threading
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from engines import own_engine
from pushed_images import make_model, with_model

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member
from imagesmith.progress import Silent
from imagesmith.publish import stages
from imagesmith.publish.archive import ArchivePublisher
from imagesmith.publish.destination import destination
from imagesmith.publish.engine import EnginePublisher

CREATED = "1970-01-01T00:00:00Z"


class Listener(Silent):
    """Keeps what was said."""

    def __init__(self):
        self.lines = []

    def say(self, stage, text):
        self.lines.append(text)


@pytest.fixture
def model(store):
    name = f"model-{uuid.uuid4().hex}:1"
    return make_model(store, name, uuid.uuid4().bytes, seed=uuid.uuid4().int)


@pytest.fixture
def loaded(engine):
    """Give a function that loads an image and says what came of it; its images go at the end."""
    names = []

    def load(image, store):
        listener = Listener()
        names.append(image.reference)
        EnginePublisher(store, listener, engine.host).publish(image)
        return listener.lines

    yield load
    for name in names:
        engine.run("rmi", "--force", name, check=False)


def inspected(engine, image):
    return json.loads(engine.run("inspect", image.reference).stdout)[0]


@pytest.mark.engine
def test_the_engine_has_the_image_under_its_name(model, store, engine, loaded):
    loaded(model, store)
    found = inspected(engine, model)
    assert found["Id"] == model.config_blob.digest
    assert found["RootFS"]["Layers"] == [layer.diff_id for layer in model.layers]


@pytest.mark.engine
def test_a_second_model_brings_its_own_layer_alone(model, store, engine, loaded):
    assert loaded(model, store) == ["3 layers (3.2 MB) into the engine"]
    second = with_model(store, model, b"second")
    assert loaded(second, store) == ["1 layers (0.0 MB) into the engine"]
    assert inspected(engine, second)["Id"] == second.config_blob.digest


def below(store, image, count):
    """Make the image of the first layers of another one, as a base is."""
    layers = image.layers[:count]
    return oci.assemble(store, f"below-{image.reference}", layers, image.config, CREATED)


def apart(store, image):
    """Make the image of another one's layers over a base that nobody else has."""
    base = write_layer(store, [file_member("etc/base", uuid.uuid4().bytes)], "another base")
    name, layers = f"apart-{image.reference}", (base, *image.layers[1:])
    return oci.assemble(store, name, layers, image.config, CREATED)


@pytest.mark.engine
@pytest.mark.parametrize(("count", "lacking"), [(1, "2 layers (3.2 MB)"), (2, "1 layers (0.0 MB)")])
def test_an_engine_that_has_what_lies_below_gets_what_lies_above(
    model, store, engine, loaded, count, lacking
):
    image = apart(store, model)
    loaded(below(store, image, count), store)
    assert loaded(image, store) == [f"{lacking} into the engine"]
    found = inspected(engine, image)
    assert found["RootFS"]["Layers"] == [layer.diff_id for layer in image.layers]


@pytest.mark.engine
def test_the_same_layers_over_another_base_are_sent_since_a_chain_is_known_by_its_beginning(
    store, engine, loaded, model
):
    loaded(model, store)
    image = apart(store, model)
    assert loaded(image, store) == ["3 layers (3.2 MB) into the engine"]
    found = inspected(engine, image)
    assert found["RootFS"]["Layers"] == [layer.diff_id for layer in image.layers]


@pytest.mark.engine
def test_what_was_removed_from_the_engine_in_between_is_sent_after_all(
    store, engine, loaded, model
):
    """The engine is asked when the first layer is made; the last may be made much later."""
    loaded(model, store)
    second = with_model(store, model, b"second")
    listener = Listener()
    with EnginePublisher(store, listener, engine.host).delivery() as delivery:
        for layer in second.layers:
            delivery.layer(layer)
        engine.run("rmi", model.reference)
        delivery.publish(second)
    assert listener.lines == ["3 layers (3.2 MB) into the engine"]
    assert inspected(engine, second)["Id"] == second.config_blob.digest
    engine.run("rmi", second.reference)


@pytest.mark.engine
def test_an_image_that_is_there_is_named_alone(model, store, engine, loaded):
    loaded(model, store)
    assert loaded(model, store) == []
    assert inspected(engine, model)["Id"] == model.config_blob.digest


@pytest.mark.engine
def test_a_layer_that_the_engine_turns_out_to_lack_is_sent_after_all(
    model, store, engine, loaded, monkeypatch
):
    chain = [layer.diff_id for layer in model.layers[:2]]
    monkeypatch.setattr(stages, "_chains", lambda *_: [chain])
    assert loaded(model, store) == ["3 layers (3.2 MB) into the engine"]
    assert inspected(engine, model)["Id"] == model.config_blob.digest


@pytest.mark.engine
def test_layers_that_were_sent_while_others_were_made_are_not_sent_again(model, store, engine):
    listener = Listener()
    with EnginePublisher(store, listener, engine.host).delivery() as delivery:
        for layer in model.layers[:2]:
            delivery.layer(layer)
        delivery.publish(model)
    assert listener.lines == ["3 layers (3.2 MB) into the engine"]
    assert inspected(engine, model)["Id"] == model.config_blob.digest
    engine.run("rmi", model.reference)


@pytest.fixture
def small_stages(monkeypatch):
    """Have each layer loaded as soon as the next one comes."""
    monkeypatch.setattr(stages, "STAGE", 1)


def chains(engine):
    """Give the layers of every image of the engine, by its id."""
    ids = engine.run("images", "--all", "--quiet", "--no-trunc").stdout.split()
    told = json.loads(engine.run("inspect", *ids).stdout) if ids else []
    return {image["Id"]: image["RootFS"].get("Layers") or [] for image in told}


def of_model(engine, model):
    """Give the images of the engine that hold a layer of the model, and of no other."""
    own = {layer.diff_id for layer in model.layers}
    return [name for name, layers in chains(engine).items() if own & set(layers)]


@pytest.mark.engine
def test_an_image_that_is_given_up_half_way_leaves_nothing_in_the_engine(
    model, store, engine, small_stages
):
    with (
        pytest.raises(RuntimeError, match="it does not answer"),
        EnginePublisher(store, Silent(), engine.host).delivery() as delivery,
    ):
        for layer in model.layers:
            delivery.layer(layer)
        raise RuntimeError("it does not answer")
    assert of_model(engine, model) == []


@pytest.mark.engine
def test_layers_are_loaded_while_others_are_made_and_leave_one_image(
    model, store, engine, loaded, small_stages, wait_until
):
    with EnginePublisher(store, Silent(), engine.host).delivery() as delivery:
        for layer in model.layers:
            delivery.layer(layer)
        # The first two are there before anybody has said what image they are of.
        wait_until(lambda: len(of_model(engine, model)) == 2, seconds=60)
        delivery.publish(model)
    assert of_model(engine, model) == [model.config_blob.digest]
    engine.run("rmi", model.reference)


@pytest.mark.engine
def test_what_a_killed_process_left_in_the_engine_is_used_and_cleared_away(
    model, store, engine, loaded, small_stages, monkeypatch
):
    monkeypatch.setattr(stages, "_remove_unnamed", lambda *_: None)
    with EnginePublisher(store, Silent(), engine.host).delivery() as delivery:
        for layer in model.layers:
            delivery.layer(layer)
    monkeypatch.undo()
    assert of_model(engine, model) != []
    assert loaded(model, store) == ["1 layers (0.0 MB) into the engine"]
    assert of_model(engine, model) == [model.config_blob.digest]


@pytest.mark.engine
def test_docker_load_gives_the_same_image_from_an_archive(model, store, engine, loaded, tmp_path):
    ArchivePublisher(tmp_path / "image.tar").publish(model)
    engine.run("load", "--input", tmp_path / "image.tar")
    assert inspected(engine, model)["Id"] == model.config_blob.digest
    assert loaded(model, store) == []


@pytest.mark.engine
@pytest.mark.parametrize("spoilt", [b"", b"x" * 100])
def test_a_damaged_layer_is_not_loaded(model, store, engine, spoilt):
    model.blob(model.layers[1].blob.digest).write_bytes(spoilt)
    with pytest.raises(ImagesmithError) as stopped:
        EnginePublisher(store, Silent(), engine.host).publish(model)
    assert stopped.value.findings[0].code == "publish.damaged"
    assert engine.run("inspect", model.reference, check=False).returncode != 0


@pytest.mark.parametrize(
    "host",
    ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "nonsense", "tcp://h:99999", "ftp://x"],
)
def test_no_engine_is_a_finding(model, store, host, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", host)
    for publisher in (EnginePublisher(store, Silent(), host), destination("docker", store)):
        for ask in (publisher.check, lambda p=publisher: p.publish(model)):
            with pytest.raises(ImagesmithError) as stopped:
                ask()
            assert stopped.value.findings[0].code == "reach.engine"
            assert stopped.value.exit_code is ExitCode.UNREACHABLE


class DyingEngine(BaseHTTPRequestHandler):
    """An engine that answers until it is to load: then it ends, or its disk is full."""

    load = "dies"

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path.endswith("/version"):
            self.answer(200, {"ApiVersion": "1.41", "MinAPIVersion": "1.12"})
        elif self.path.endswith("/info"):
            self.answer(200, {"DriverStatus": [["Backing Filesystem", "extfs"]]})
        elif "/images/json" in self.path:
            self.answer(200, [])
        else:
            self.answer(404, {"message": "no such image"})

    def do_POST(self):
        if self.load == "dies":
            self.rfile.read(1 << 16)
            self.connection.close()
            return
        while int(size := self.rfile.readline(), 16):
            self.rfile.read(int(size, 16) + 2)
        self.answer(200, {"error": "write /layer.tar: no space left on device"})

    def answer(self, status, data):
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ManifestEngine(DyingEngine):
    """A fake of an engine with containerd's store, which Debian's cannot run.

    It names an image by a manifest of its own, knows none by its config, and refuses a load that
    lacks a layer.
    """

    def do_GET(self):
        name = self.path.partition("/images/")[2].removesuffix("/json")
        if self.path.endswith("/info"):
            self.answer(200, {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})
        elif name in self.images:
            self.answer(200, self.images[name])
        else:
            super().do_GET()

    def do_POST(self):
        if "/tag" in self.path:
            self.answer(404, {"message": "No such image"})
            return
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.read(2)
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            (said,) = json.load(tar.extractfile("manifest.json"))
            config = json.load(tar.extractfile(said["Config"]))
            lacking = set(said["Layers"]) - set(tar.getnames())
        self.loads.append(said["RepoTags"])
        if lacking:
            self.answer(200, {"error": f"{lacking}: content not found"})
            return
        rootfs = {"Layers": config["rootfs"]["diff_ids"]}
        loaded = {"Id": f"sha256:{'f' * 64}", "RootFS": rootfs, "Config": config["config"]}
        self.images.update(dict.fromkeys(said["RepoTags"], loaded))
        self.answer(200, {"stream": "Loaded image"})


@contextmanager
def dying_engine(load):
    with served(type("Handler", (DyingEngine,), {"load": load})) as host:
        yield host


@contextmanager
def served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield "tcp://{}:{}".format(*server.server_address)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_engine_with_containerds_store_gets_every_image_whole(model, store, small_stages):
    handler = type("Handler", (ManifestEngine,), {"images": {}, "loads": []})
    second = with_model(store, model, b"second")
    with served(handler) as host:
        publisher = EnginePublisher(store, Silent(), host)
        for image in (model, second):
            with publisher.delivery() as delivery:
                for layer in image.layers:
                    delivery.layer(layer)
                delivery.publish(image)
        assert handler.loads == [[model.reference], [second.reference]]


def test_another_image_under_the_name_is_told_also_with_containerds_store(model, store):
    class Forgetful(ManifestEngine):
        """Gives the name to an image that starts otherwise."""

        def answer(self, status, data):
            super().answer(status, {**data, "Config": {}} if "Config" in data else data)

    handler = type("Handler", (Forgetful,), {"images": {}, "loads": []})
    with served(handler) as host, pytest.raises(ImagesmithError) as stopped:
        EnginePublisher(store, Silent(), host).publish(model)
    assert stopped.value.findings[0].code == "publish.digest"


@pytest.mark.parametrize(
    ("load", "code", "word"),
    [("dies", "reach.engine", "DOCKER_HOST"), ("is full", "publish.engine", "free some space")],
)
def test_an_engine_that_fails_while_it_loads_is_a_finding(model, store, load, code, word):
    with dying_engine(load) as host, pytest.raises(ImagesmithError) as stopped:
        EnginePublisher(store, Silent(), host).publish(model)
    (found,) = stopped.value.findings
    assert found.code == code
    assert word in found.remedy


@pytest.mark.engine
def test_an_engine_that_is_killed_while_it_loads_is_a_finding(model, store):
    with (
        own_engine() as doomed,
        pytest.raises(ImagesmithError) as stopped,
        EnginePublisher(store, Silent(), doomed.host).delivery() as delivery,
    ):
        delivery.layer(model.layers[0])  # from here on the engine waits for the rest
        doomed.kill()
        delivery.publish(model)
    (found,) = stopped.value.findings
    assert found.code == "reach.engine"
    assert stopped.value.exit_code is ExitCode.UNREACHABLE


@pytest.mark.engine
def test_an_engine_whose_disk_is_full_is_a_finding_and_has_no_half_image(model, store):
    zeros = write_layer(store, [file_member("opt/zeros", bytes(64 << 20))], "zeros")
    image = oci.assemble(
        store, "big:1", (*model.layers, zeros), model.config, "1970-01-01T00:00:00Z"
    )
    with own_engine(size="32m") as small:
        with pytest.raises(ImagesmithError) as stopped:
            EnginePublisher(store, Silent(), small.host).publish(image)
        assert small.run("images", "--all", "--quiet").stdout == ""
    (found,) = stopped.value.findings
    assert found.code == "publish.engine"
    assert "free some space" in found.remedy
