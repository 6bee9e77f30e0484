"""A project of one's own to capture from, environments made by hand, and a place to load in."""

import json
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent

import pytest
from conda_prefix import CondaPrefix

from imagesmith.capture.sources import read_specification
from imagesmith.capture.take import capture
from imagesmith.findings import ExitCode, ImagesmithError, Severity
from imagesmith.store import Store

FIXTURES = Path(__file__).parents[2] / "fixtures"

# What the tests' functions use, linked into an environment that is read in no time.
_USED = ("cloudpickle", "orjson", "installer", "numpy", "packaging", "platformdirs", "rich")

# What the container does, somewhere else and without the sources.
_LOAD_AND_ASK = """
import sys, json
folder, label, strings, inputs = json.loads(sys.stdin.read())
sys.path.insert(0, folder + "/modules")
import cloudpickle
from imagesmith.runtime.batch import batch_of, frames_of, outputs_of
with open(folder + "/func.pkl", "rb") as file:
    function = cloudpickle.load(file)
batch = batch_of(frames_of(inputs, label), label, strings)
print(json.dumps(outputs_of(function(batch), len(inputs))))
"""


@dataclass
class Listener:
    """Keeps what a capture says."""

    lines: list = field(default_factory=list)
    findings: list = field(default_factory=list)

    def say(self, stage, text):
        self.lines.append(text)

    def find(self, finding):
        self.findings.append(finding)

    @property
    def codes(self):
        return [finding.code for finding in self.findings]

    @property
    def was_stored(self):
        return "unchanged" in self.lines[-1]


@dataclass
class Project:
    """A folder to write sources into and to capture from."""

    folder: Path
    store: Store
    env: Path
    heard: Listener = field(default_factory=Listener)

    def write(self, by_path=None, **by_stem):
        """Write files, by their path in the project or, if Python and at its top, by their stem."""
        named = {f"{stem}.py": text for stem, text in by_stem.items()}
        for name, text in {**(by_path or {}), **named}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def copy(self, fixture):
        """Copy the files of one of the fixtures' folders."""
        shutil.copytree(FIXTURES / fixture, self.folder, dirs_exist_ok=True)

    def capture(self, target, input_type="strings", samples=None, env=None, **asked):
        """Capture; samples are the values themselves."""
        self.heard = Listener()
        file = None
        if samples is not None:
            file = self.folder.parent / "samples.json"
            file.write_text(json.dumps(samples))
        wish = {
            "name": "model",
            "version": None,
            "input_type": input_type,
            "env": str(env or self.env),
        }
        return capture(
            target,
            **{**wish, **asked},
            samples=file,
            project=self.folder,
            store=self.store,
            progress=self.heard,
        )

    def fails(self, *args, **kwargs):
        """Capture, which must fail; its findings by code."""
        with pytest.raises(ImagesmithError) as failed:
            self.capture(*args, **kwargs)
        self.log = failed.value.log
        return {finding.code: finding for finding in failed.value.findings}


def new_venv(prefix):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    return Venv(prefix)


@pytest.fixture(scope="session")
def lean(tmp_path_factory):
    """An environment with what the tests' functions use, and little else."""
    made = new_venv(tmp_path_factory.mktemp("lean") / "venv")
    for name in (*_USED, "numpy.libs"):
        for path in Path(sysconfig.get_path("purelib")).glob(f"{name}*"):
            if path.name == name or path.name.endswith(".dist-info"):
                (made.site / path.name).symlink_to(path)
    return made.prefix


@pytest.fixture
def twice():
    """Let a capture load its target twice, as it does, to see that it is steady."""


@pytest.fixture(autouse=True)
def once(request, monkeypatch):
    """Spare the second loading, half of a capture's time, where a test is not about it."""
    if "twice" not in request.fixturenames:
        monkeypatch.setattr("imagesmith.capture.take._unsteady", lambda *_: ())


@pytest.fixture(scope="session")
def project_in(lean):
    """Give a function that makes a project, with a store of its own, in a folder."""

    def make(above, inner="project"):
        folder = above / inner
        folder.mkdir(parents=True)
        return Project(folder, Store(above / "store"), lean)

    return make


@pytest.fixture
def project(project_in, tmp_path):
    return project_in(tmp_path)


@pytest.fixture
def another_project(project_in, tmp_path_factory):
    """A project in a folder whose path is of another length, with a store of its own."""
    return project_in(tmp_path_factory.mktemp("quite-another-place"), "deeper/project")


@dataclass
class Venv:
    """An environment whose distributions are written by hand."""

    prefix: Path

    @property
    def site(self):
        return next(self.prefix.glob("lib/python*/site-packages"))

    def install(self, name, version, files=(), requires=(), metadata=None, **others):
        """Write a distribution: its modules, and METADATA, RECORD and what else dist-info has."""
        for path in files:
            (self.site / path).parent.mkdir(parents=True, exist_ok=True)
            (self.site / path).write_text("")
        info = self.site / f"{name}-{version}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        lines = head + "".join(f"Requires-Dist: {line}\n" for line in requires)
        (info / "METADATA").write_text(lines if metadata is None else metadata)
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
        for file, text in others.items():
            (info / file.replace("_json", ".json")).write_text(text)


@pytest.fixture
def venv(tmp_path):
    return new_venv(tmp_path / "venv")


@pytest.fixture
def load_and_ask(tmp_path_factory):
    """Give a function that loads a capture in another process, as a container does, and asks it."""

    def ask(capture, inputs):
        moved = tmp_path_factory.mktemp("elsewhere") / "model"
        shutil.copytree(capture.folder, moved)
        question = [str(moved), capture.input_type, capture.strings, inputs]
        done = subprocess.run(
            [sys.executable, "-c", _LOAD_AND_ASK],
            input=json.dumps(question),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A home of the test's own, without the condarc files of whoever runs it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CONDARC", raising=False)
    return home


@pytest.fixture
def read(home, tmp_path):
    """Give a function that writes a file and reads it: the specification, and its findings."""

    def write_and_read(name, text):
        data = text if isinstance(text, bytes) else dedent(text).encode()
        (tmp_path / name).write_bytes(data)
        return read_specification(tmp_path / name)

    return write_and_read


@pytest.fixture
def refused(read, tmp_path):
    """Give a function that reads a file that is wrong: its errors, without the folder's name."""

    def errors(name, text):
        with pytest.raises(ImagesmithError) as failed:
            read(name, text)
        assert failed.value.exit_code is ExitCode.USAGE
        found = [f for f in failed.value.findings if f.severity is Severity.ERROR]
        assert all(f.code == "usage.specification" and f.message and f.remedy for f in found)
        return [replace(f, subject=f.subject.removeprefix(f"{tmp_path}/")) for f in found]

    return errors


@pytest.fixture
def wrong(refused):
    """Give a function that reads a file that is wrong: the places in it that are refused."""
    return lambda name, text: [finding.subject for finding in refused(name, text)]


@pytest.fixture
def mac(tmp_path):
    made = CondaPrefix(tmp_path / "mac", "osx-arm64")
    made.install("python", "3.11.7", ["README.txt"])
    return made
