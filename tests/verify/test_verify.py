"""What verify says of an image, with the real runner and small images that serve or do not."""

import json

import pytest

from imagesmith.capture.bundle import Answers, Samples
from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.verify import verify as stage
from imagesmith.verify.verify import verify

pytestmark = [pytest.mark.root, pytest.mark.apt]

CREATED = "1970-01-01T00:00:00Z"
SAMPLES = Samples(([1.0], [2.0]), Answers(("1", "2"), ("1", "2")))
ASLEEP = "import signal\nprint('up')\nsignal.sigwait([signal.SIGTERM])\n"
SERVED = {"imports": {}, "ready": True, "answers": [["1", "2"], ["1"], ["2"]]}


class Watched:
    """The real runner, which remembers what it started."""

    def __init__(self, store):
        self._runner = RootfsRunner(store)
        self.started = []

    def start(self, image, **options):
        self.started.append(self._runner.start(image, **options))
        return self.started[-1]


@pytest.fixture
def runner(store):
    """Give a runner; whatever it started must have been stopped by the end of the test."""
    watched = Watched(store)
    yield watched
    assert [one.id for one in watched.started if one.folder.exists()] == []


@pytest.fixture
def image_of(store, base, tmp_path):
    """Give a function that makes an image whose container and probe are these Python programs."""

    def make(container=ASLEEP, probe=None):
        printed = probe if isinstance(probe, str) else f"print({json.dumps(probe)!r})"
        files = {"closure_container.py": container, "probe.py": printed, "__init__.py": ""}
        members = [
            *(
                file_member(f"container/imagesmith/runtime/{name}", text.encode())
                for name, text in files.items()
            ),
            # No image of another test is the same, so no verdict of it is remembered.
            file_member("container/test", str(tmp_path).encode()),
        ]
        config = oci.ImageConfig(
            env={"PATH": "/usr/bin", "PYTHONPATH": "/container", "PYTHONUNBUFFERED": "1"},
            entrypoint=("/usr/bin/python", "-m", "imagesmith.runtime.closure_container"),
            user="1000:1000",
            labels={
                oci.LABEL_INPUT_TYPE: "doubles",
                oci.LABEL_MODULES: '["absent"]',
                oci.LABEL_PACKAGES: base.config.labels[oci.LABEL_PACKAGES],
            },
        )
        layers = (*base.layers, write_layer(store, members, "a test's"))
        return oci.assemble(store, "verify-test:1", layers, config, CREATED)

    return make


def refused(image, runner, store, samples=SAMPLES, **options):
    with pytest.raises(ImagesmithError) as stopped:
        verify(image, samples, runner, store, **options)
    assert stopped.value.exit_code is ExitCode.VERIFY
    return stopped.value


def test_the_answers_are_compared_and_the_container_stopped(image_of, runner, store):
    verdict = verify(image_of(probe=SERVED), SAMPLES, runner, store)
    assert (verdict.answered, verdict.compared, verdict.findings) == (4, 4, ())
    assert len(runner.started) == 1


def test_a_module_that_cannot_be_imported_is_named_with_the_reason(image_of, runner, store):
    report = {**SERVED, "imports": {"absent": "ModuleNotFoundError: No module named 'absent'"}}
    (finding,) = refused(image_of(probe=report), runner, store).findings
    assert (finding.code, finding.subject) == ("verify.import", "absent")
    assert "ModuleNotFoundError" in finding.message


def test_a_library_that_an_import_misses_is_named_with_its_debian_package(image_of, runner, store):
    reason = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    report = {**SERVED, "imports": {"cv2": reason}}
    (finding,) = refused(image_of(probe=report), runner, store).findings
    assert finding.remedy == "libGL.so.1 is missing: --apt libgl1"


def test_the_probe_inside_is_asked_what_the_labels_and_the_samples_say(image_of, runner, store):
    echo = "import sys\nprint(sys.stdin.read(), file=sys.stderr)\nraise SystemExit(1)\n"
    failure = refused(image_of(probe=echo), runner, store)
    question = json.loads(failure.findings[0].message.partition("status 1: ")[2])
    assert question["batches"] == [[[1.0], [2.0]], [[1.0]], [[2.0]]]
    assert (question["input_type"], question["imports"]) == ("doubles", ["absent"])


def test_a_container_that_stays_silent_is_told_in_time(image_of, runner, store, monkeypatch):
    monkeypatch.setattr(stage, "_PATIENCE", 0.2)
    failure = refused(image_of(probe="import time\ntime.sleep(1000)\n"), runner, store)
    assert [finding.code for finding in failure.findings] == ["verify.silent"]
    assert failure.log == "up\n"


def test_a_container_that_crashes_at_start_is_told_in_its_own_last_line(image_of, runner, store):
    crash = "import sys\nprint('loading')\nsys.exit('ValueError: no weights')\n"
    failure = refused(image_of(crash, "import time\ntime.sleep(1000)\n"), runner, store)
    (finding,) = failure.findings
    assert finding.code == "verify.crashed"
    assert finding.message == "the container ended with status 1: ValueError: no weights"
    assert failure.log == "loading\nValueError: no weights\n"


def test_an_answer_that_differs_is_shown_beside_what_it_should_be(image_of, runner, store):
    report = {**SERVED, "answers": [["1", "3"], ["1"], ["2"]]}
    (finding,) = refused(image_of(probe=report), runner, store).findings
    assert finding.code == "verify.mismatch"
    assert "'2' here, the image answers '3'" in finding.message


@pytest.mark.parametrize(
    "report",
    [
        [],
        "text",
        {},
        {"imports": [], "answers": [["1", "2"], ["1"], ["2"]]},
        {"imports": {}, "answers": None},
        {"imports": {}, "answers": [["1", "2"], ["1"]]},
        {"imports": {}, "answers": [["1"], ["1"], ["2"]]},
        {"imports": {}, "answers": [[1, 2], [1], [2]]},
        {"imports": {}, "answers": [1, 2, 3]},
    ],
)
def test_a_probe_that_says_something_else_is_no_fault(image_of, runner, store, report, monkeypatch):
    """The probe lies in the image, and the image may be from anywhere."""
    monkeypatch.setattr(stage, "_END_IS_KNOWN_IN", 0.0)
    failure = refused(image_of(probe=report), runner, store)
    assert [finding.code for finding in failure.findings] == ["verify.probe"]


def test_a_verdict_is_remembered_for_the_same_samples_and_tolerance_alone(image_of, runner, store):
    image = image_of(probe=SERVED)
    assert not verify(image, SAMPLES, runner, store).remembered
    assert verify(image, SAMPLES, runner, store).remembered
    assert not verify(image, SAMPLES, runner, store, rtol=1e-3).remembered
    others = Samples(([1.0], [3.0]), SAMPLES.answers)
    assert not verify(image, others, runner, store).remembered
    assert not verify(image, SAMPLES, runner, store, compare=False).remembered
    assert len(runner.started) == 4


def test_who_asks_for_it_has_an_image_started_again(image_of, runner, store):
    image = image_of(probe=SERVED)
    for _ in range(2):
        assert not verify(image, SAMPLES, runner, store, again=True).remembered
    assert len(runner.started) == 2


def test_a_failure_is_not_remembered(image_of, runner, store):
    image = image_of(probe={**SERVED, "answers": [["1", "3"], ["1"], ["2"]]})
    refused(image, runner, store)
    refused(image, runner, store)
    assert len(runner.started) == 2


def test_without_samples_it_says_that_nothing_was_compared(image_of, runner, store):
    verdict = verify(image_of(probe={**SERVED, "answers": []}), None, runner, store)
    assert [finding.code for finding in verdict.findings] == ["verify.not-compared"]


def test_an_interruption_stops_the_container(image_of, runner, store, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "_probe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify(image_of(probe=SERVED), SAMPLES, runner, store)
    assert len(runner.started) == 1
