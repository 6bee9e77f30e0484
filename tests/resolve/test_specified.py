"""What a file asks for becomes a lock: environment.yml, requirements.txt, pyproject.toml."""

from __future__ import annotations

import pytest
from local_channel import LocalChannel
from local_index import NoMaker

from imagesmith.capture.sources import read_specification
from imagesmith.findings import ImagesmithError, Severity
from imagesmith.progress import Silent
from imagesmith.resolve import (
    Sources,
    Target,
    Wish,
    resolve,
)
from imagesmith.resolve.specified import minor
from imagesmith.resolve.uv import UvSolver

MINORS = ("3.9", "3.11", "3.13")


@pytest.fixture
def channel(tmp_path):
    made = LocalChannel(tmp_path / "channel")
    made.add_python()
    made.add("alpha", "1.0", "python")
    made.add("alpha", "2.0", "python")
    return made


@pytest.fixture
def specified(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return read_specification(path)[0]

    return write


@pytest.fixture
def resolved(index, store):
    def run(specification, wish=None, url=None):
        return resolve(
            specification,
            Target("3.11", "2.36"),
            wish=wish or Wish(),
            sources=Sources(url or index.url),
            solver=UvSolver(),
            maker=NoMaker(),
            store=store,
            progress=Silent(),
        )

    return run


ENVIRONMENT = """
channels: [{url}]
dependencies:
  - python=3.11
  - alpha<2
  - pip:
    - beta==1.0
"""


def test_an_environment_yml_locks_conda_first_and_pip_round_it(specified, resolved, channel, index):
    index.wheel("beta", "1.0", requires=["alpha"])
    found = resolved(specified("environment.yml", ENVIRONMENT.format(url=channel.url)))
    assert [(p.name, p.version) for p in found.lock.packages] == [
        ("alpha", "1.0"),
        ("python", "3.11.7"),
    ]
    wheels = {w.name: w.version for w in found.lock.wheels}
    assert wheels["beta"] == "1.0"
    assert "alpha" not in wheels  # conda's is it
    assert {"cloudpickle", "numpy", "prometheus-client", "pyzmq"} < wheels.keys()


def test_what_the_file_asks_for_is_in_the_report(specified, resolved, channel, index):
    index.wheel("beta", "1.0")
    report = resolved(specified("environment.yml", ENVIRONMENT.format(url=channel.url))).report
    shown = [(e.manager, e.name, e.wanted, e.got) for e in report.entries]
    assert ("conda", "alpha", "<2", "1.0") in shown
    assert ("pip", "beta", "beta==1.0", "1.0") in shown


def test_ranges_that_contradict_each_other_are_told_with_what_would_do(
    specified, resolved, channel
):
    channel.add("gamma", "1.0", "alpha >=2")
    channel.add("gamma", "0.9", "alpha")
    text = f"channels: [{channel.url}]\ndependencies: [python=3.11, alpha<2, gamma=1.0]\n"
    (finding,) = resolved(specified("environment.yml", text)).findings
    assert finding.code == "unsatisfiable.conflict"
    assert "alpha <2" in finding.message
    assert "gamma" in finding.message
    assert "--update alpha==2.0" in finding.remedy


def test_requirements_and_their_own_index_are_taken(specified, resolved, index):
    index.wheel("alpha", "1.5")
    text = f"--index-url {index.url}\nalpha>=1,<2\n"
    lock = resolved(specified("requirements.txt", text)).lock
    assert ("alpha", "1.5") in [(w.name, w.version) for w in lock.wheels]


def test_a_constraint_holds_for_what_others_bring(specified, resolved, index, tmp_path):
    index.wheel("alpha", "1.0", requires=["beta"])
    for version in ("1.0", "2.0"):
        index.wheel("beta", version)
    (tmp_path / "limits.txt").write_text("beta<2\nunused==1\n")
    lock = resolved(specified("requirements.txt", "-c limits.txt\nalpha\n")).lock
    chosen = {wheel.name: wheel.version for wheel in lock.wheels}
    assert chosen["beta"] == "1.0"
    assert "unused" not in chosen


def test_an_update_takes_the_place_of_what_the_file_says(specified, resolved, index):
    for version in ("1.0", "1.5"):
        index.wheel("alpha", version)
    specification = specified("requirements.txt", "alpha==1.0\n")
    lock = resolved(specification, Wish(updates={"alpha": "1.5"})).lock
    assert ("alpha", "1.5") in [(w.name, w.version) for w in lock.wheels]


def test_a_missing_version_is_told_with_those_that_there_are(specified, resolved, index):
    for version in ("0.9", "1.5"):
        index.wheel("alpha", version)
    (finding,) = resolved(specified("requirements.txt", "alpha==1.4\n")).findings
    assert finding.code == "missing.version"
    assert finding.remedy == "there are wheels of 1.5, 0.9: --update alpha==1.5"


@pytest.mark.parametrize("line", ["..", "git+https://host/x.git", "-e ."])
def test_of_what_is_on_no_index_a_wheel_is_made_or_it_is_told(specified, resolved, line):
    found = resolved(specified("requirements.txt", f"{line}\n"))
    errors = [f.code for f in found.findings if f.severity is Severity.ERROR]
    assert errors == ["build.sdist"]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", "3.13"),
        (">=3.9,<3.12", "3.11"),
        ("=3.9", "3.9"),
        ("3.11.*", "3.11"),
        ("==3.11.7", "3.11"),
        (">=3.10", "3.13"),
        ("3.9", "3.9"),
    ],
)
def test_the_newest_python_that_the_file_allows_is_taken(specified, text, chosen):
    line = f"requires-python = '{text}'" if text else ""
    if text in ("=3.9", "3.11.*", "3.9"):
        yml = f"dependencies: [python {text}]" if text != "=3.9" else "dependencies: [python=3.9]"
        assert minor(specified("environment.yml", yml), MINORS) == chosen
    else:
        project = specified("pyproject.toml", f"[project]\nname='x'\n{line}\n")
        assert minor(project, MINORS) == chosen


def test_a_python_that_there_is_no_base_for_is_told(specified):
    project = specified("pyproject.toml", "[project]\nname='x'\nrequires-python='<3.9'\n")
    with pytest.raises(ImagesmithError) as stopped:
        minor(project, MINORS)
    assert [f.code for f in stopped.value.findings] == ["capture.python"]
