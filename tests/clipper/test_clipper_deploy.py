"""Deploying: all of it, or Clipper and the machine as before."""

from __future__ import annotations

import shutil

import pytest

from imagesmith.clipper.client import Clipper
from imagesmith.clipper.deploy import Wish, deploy
from imagesmith.clipper.local import connection
from imagesmith.clipper.manager import LocalManager, Model, stop_all, stop_left_over
from imagesmith.findings import ImagesmithError, Severity, error
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.progress import Silent
from imagesmith.run.rootfs import Process, RootfsRunner
from imagesmith.store import Store


class Listener(Silent):
    def __init__(self):
        self.found = []

    def find(self, finding):
        self.found.append(finding)


class Manager:
    """Starts replicas that only exist as names; ``stuck`` are those that it cannot stop."""

    def __init__(self, stuck=()):
        self.running = []
        self.started = 0
        self.stuck = stuck

    def start(self, image, model):
        self.started += 1
        self.running.append(f"replica-{self.started}")
        return self.running[-1]

    def stop(self, replica):
        if replica in self.stuck:
            raise ImagesmithError(error("register.refused", replica, "it is stuck", "kick it"))
        self.running.remove(replica)


class RefusesLinks(Clipper):
    def add_model_links(self, app, model):
        raise ImagesmithError(error("register.refused", app, "no links today", "come back"))


class KeepsLinks(Clipper):
    """Plays the real Clipper, where the links of an application outlive it (contract D.2)."""

    def __init__(self, *place, kept):
        super().__init__(*place)
        self.kept = kept

    def add_app(self, name, input_type, default_output, slo_micros):
        super().add_app(name, input_type, default_output, slo_micros)
        if self.kept != "m":
            super().add_model(self.kept, "1", input_type)
            super().add_model_links(name, self.kept)

    def add_model(self, name, *rest, **more):
        super().add_model(name, *rest, **more)
        if self.kept == "m":
            super().add_model_links("a", name)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def image(store):
    labels = {oci.LABEL_MODEL: "m", oci.LABEL_VERSION: "1", oci.LABEL_INPUT_TYPE: "doubles"}
    config = oci.ImageConfig(entrypoint=("python",), labels=labels)
    layers = (write_layer(store, [], "nothing"),)
    return oci.assemble(store, "m:1", layers, config, "1970-01-01T00:00:00Z")


def at(endpoints, kind=Clipper, **more):
    base = f"http://{endpoints.host}"
    return kind(f"{base}:{endpoints.management}", f"{base}:{endpoints.query}", **more)


def codes(raised):
    return [finding.code for finding in raised.value.findings]


def test_a_deployed_model_is_registered_and_linked(clipper, image):
    manager = Manager()
    done = deploy(image, Wish("a", replicas=2, labels=("x",)), clipper, manager, Silent())
    assert (done.app, done.model) == ("a", Model("m", "1", "doubles"))
    assert list(done.replicas) == manager.running == ["replica-1", "replica-2"]
    assert clipper.get_linked_models("a") == ["m"]
    assert clipper.get_model("m", "1")["container_name"] == image.pinned
    assert clipper.get_model("m", "1")["labels"] == ["x"]


def test_a_refused_link_is_undone_in_reverse(endpoints, clipper, image):
    manager = Manager()
    with at(endpoints, RefusesLinks) as refusing, pytest.raises(ImagesmithError) as raised:
        deploy(image, Wish("a", replicas=2), refusing, manager, Silent())
    assert codes(raised) == ["register.refused"]
    assert clipper.get_all_applications() == []
    assert clipper.get_all_models() == []
    assert manager.running == []


def test_what_was_there_before_stays(endpoints, clipper, image):
    clipper.add_app("a", "doubles", "None", 3_000_000)
    with at(endpoints, RefusesLinks) as refusing, pytest.raises(ImagesmithError):
        deploy(image, Wish("a"), refusing, Manager(), Silent())
    assert clipper.get_all_applications(verbose=False) == ["a"]
    assert clipper.get_all_models() == []


def test_what_cannot_be_undone_is_told_and_the_rest_is_undone(endpoints, clipper, image):
    manager, listener = Manager(stuck=["replica-2"]), Listener()
    with at(endpoints, RefusesLinks) as refusing, pytest.raises(ImagesmithError) as raised:
        deploy(image, Wish("a", replicas=3), refusing, manager, listener)
    assert codes(raised) == ["register.refused"]
    assert raised.value.findings[0].message == "no links today"
    [left] = listener.found
    assert left.severity is Severity.WARNING
    assert left.message == "a replica could not be taken back: it is stuck"
    assert manager.running == ["replica-2"]
    assert clipper.get_all_applications() == []


@pytest.mark.parametrize("kept", ["m", "of-old"])
def test_a_link_that_outlived_its_application_is_no_obstacle(endpoints, clipper, image, kept):
    with at(endpoints, KeepsLinks, kept=kept) as keeping:
        deploy(image, Wish("a"), keeping, Manager(), Silent())
    assert clipper.get_linked_models("a") == ["m"]


def test_another_version_of_a_linked_model_keeps_the_link(clipper, image, store):
    clipper.add_app("a", "doubles", "None", 3_000_000)
    clipper.add_model("m", "0", "doubles")
    clipper.add_model_links("a", "m")
    listener = Listener()
    deploy(image, Wish("a"), clipper, Manager(), listener)
    assert clipper.get_linked_models("a") == ["m"]
    assert clipper.get_model("m", "1")["is_current_version"] is True
    assert listener.found == []


def test_an_application_that_was_there_keeps_its_slo_and_says_so(clipper, image):
    clipper.add_app("a", "doubles", "-1", 3_000_000)
    listener = Listener()
    deploy(image, Wish("a"), clipper, Manager(), listener)
    [kept] = listener.found
    assert (kept.code, kept.severity) == ("register.app-kept", Severity.WARNING)
    assert "default_output '-1'" in kept.message
    assert "slo" not in kept.message


def test_every_obstacle_is_told_before_anything_is_started(clipper, image):
    clipper.add_app("a", "strings", "-1", 1000)
    clipper.add_model("other", "1", "strings")
    clipper.add_model_links("a", "other")
    clipper.add_model("m", "1", "doubles")
    manager = Manager()
    with pytest.raises(ImagesmithError) as raised:
        deploy(image, Wish("a"), clipper, manager, Silent())
    assert codes(raised) == ["register.exists", "register.input-type", "register.linked"]
    assert manager.started == 0


@pytest.mark.parametrize("app", ["", "a.b", "a b", "a/b", "(a)", "a+", "ä", "a\n", ".*"])
def test_a_name_that_a_url_or_its_expression_would_read_otherwise(clipper, image, app):
    with pytest.raises(ImagesmithError) as raised:
        deploy(image, Wish(app), clipper, Manager(), Silent())
    assert codes(raised) == ["usage.app"]


@pytest.mark.parametrize("app", ["a", "my_app", "Quick-Start-2"])
def test_names_as_clippers_users_have_them(clipper, image, app):
    deploy(image, Wish(app), clipper, Manager(), Silent())
    assert clipper.get_linked_models(app) == ["m"]


def test_all_that_is_misused_is_told_at_once(image):
    wish = Wish("a b", slo_micros=2**31, batch_size=0, labels=("x:y", "fine", "x,y"))
    with Clipper("http://127.0.0.1:9") as nobody, pytest.raises(ImagesmithError) as raised:
        deploy(image, wish, nobody, Manager(), Silent())
    assert codes(raised) == [
        *("usage.app", "usage.batch-size", "usage.slo", "usage.label", "usage.label")
    ]


class TestConnection:
    def test_no_clipper_named_and_none_up_is_nobody_elses(self, store):
        """On the usual ports another user's may answer, or the real one."""
        with pytest.raises(ImagesmithError) as raised:
            connection(None, None, RootfsRunner(store), store)
        assert codes(raised) == ["reach.clipper"]
        assert "imagesmith clipper up" in raised.value.findings[0].remedy

    @pytest.mark.parametrize(
        ("rpc", "address"),
        [(None, ("clipper.example", 7000)), ("10.0.0.1:7001", ("10.0.0.1", 7001))],
    )
    def test_replicas_look_for_the_clipper_that_was_named(self, store, rpc, address):
        client, manager = connection("http://clipper.example:1338", rpc, RootfsRunner(store), store)
        client.close()
        assert (manager.rpc, manager.clipper) == (address, None)

    @pytest.mark.parametrize("rpc", ["7000", ":7000", "host:", "host:x", "host:0", "host:65536"])
    def test_an_rpc_address_that_is_none(self, store, rpc):
        with pytest.raises(ImagesmithError) as raised:
            connection("http://clipper.example:1338", rpc, RootfsRunner(store), store)
        assert codes(raised) == ["usage.rpc"]


class Container:
    """A container that runs until it is stopped."""

    def __init__(self, runner, number):
        self.id = f"{number:012x}"
        self._runner = runner

    def execute(self, argv, stdin, timeout):
        return self._runner.answer()

    def status(self):
        return None

    def log(self):
        return ""

    def stop(self, grace=10.0):
        del self._runner.running[self.id]


class Runner:
    def __init__(self, answer):
        self.answer = answer
        self.running = {}

    def start(self, image, *, env, network, read_only=False):
        container = Container(self, len(self.running) + 1)
        self.running[container.id] = container
        return container

    def attach(self, container_id):
        return self.running.get(container_id)


class Done:
    status = 0


class TestLocalManager:
    ENDED = Process(2**22, started=1)  # above the kernel's largest pid

    def replicas(self, runner, store, image, *clippers):
        model = Model("m", "1", "doubles")
        return [
            LocalManager(runner, store, ("127.0.0.1", 7000), clipper).start(image, model)
            for clipper in clippers
        ]

    def test_replicas_of_a_clipper_that_ended_are_left_over(self, store, image):
        runner = Runner(Done)
        _, ours, foreign = self.replicas(runner, store, image, self.ENDED, Process.of_this(), None)
        stop_left_over(runner, store)
        assert list(runner.running) == [ours, foreign]
        stop_all(Process.of_this(), runner, store)
        assert list(runner.running) == [foreign]

    def test_a_replica_that_is_gone_already_is_forgotten(self, store, image):
        runner = Runner(Done)
        self.replicas(runner, store, image, self.ENDED)
        runner.running.clear()
        stop_left_over(runner, store)
        assert store.recall_all("replicas") == {}

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
    def test_a_start_that_is_interrupted_leaves_nothing(self, store, image, interruption):
        def answer():
            raise interruption

        runner = Runner(answer)
        with pytest.raises(interruption):
            self.replicas(runner, store, image, None)
        assert runner.running == {}
        assert store.recall_all("replicas") == {}

    def test_a_start_that_cannot_be_noted_leaves_nothing(self, store, image):
        shutil.rmtree(store.root / "records")
        (store.root / "records").write_text("in the way")
        runner = Runner(Done)
        with pytest.raises(OSError, match="records"):
            self.replicas(runner, store, image, None)
        assert runner.running == {}
