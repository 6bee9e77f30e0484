"""pip-tools: it chooses where it can, and what is written for it, it takes."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from local_index import NoMaker

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.progress import Silent
from imagesmith.resolve import (
    Sources,
    Target,
    Wanted,
    Wish,
    pylock,
    resolve,
)
from imagesmith.resolve.files import REQUIREMENTS, write
from imagesmith.resolve.indexes import Indexes
from imagesmith.resolve.pip_tools import PipToolsSolver
from imagesmith.resolve.solver import Question
from imagesmith.resolve.uv import UvSolver

HERE = Target("{}.{}".format(*sys.version_info), platform.libc_ver()[1])


def question(index, *requirements, **more):
    return Question(requirements, more.pop("preferences", ()), HERE, Indexes(index.url), **more)


@pytest.fixture
def sample(index):
    index.wheel("alpha", "1.0", requires=["beta"])
    index.wheel("beta", "1.0")
    index.wheel("beta", "2.0")
    return index


def test_it_chooses_as_pip_does_and_takes_what_is_preferred(sample):
    free = PipToolsSolver().solve(question(sample, "alpha"))
    assert pylock.versions(free) == {"alpha": "1.0", "beta": "2.0"}
    liked = PipToolsSolver().solve(question(sample, "alpha", preferences=("beta==1.0",)))
    assert pylock.versions(liked) == {"alpha": "1.0", "beta": "1.0"}


def test_it_gives_the_lock_that_uv_gives(sample):
    asked = question(sample, "alpha==1.0", "beta==1.0")
    ours, theirs = (pylock.parse(s.solve(asked), HERE) for s in (PipToolsSolver(), UvSolver()))
    assert ours == theirs


def test_what_conda_provides_is_not_chosen_otherwise(sample):
    asked = question(sample, "alpha", provided=("beta==1.0",))
    assert pylock.versions(PipToolsSolver().solve(asked))["beta"] == "1.0"


@pytest.mark.parametrize("target", [Target("3.9", HERE.glibc), Target(HERE.python, "2.17")])
def test_another_target_than_this_machine_is_refused(sample, target):
    with pytest.raises(ImagesmithError) as stopped:
        PipToolsSolver().solve(Question(("alpha",), (), target, Indexes(sample.url)))
    assert [f.code for f in stopped.value.findings] == ["usage.pip-resolver"]


def test_what_is_missing_is_told_as_well_as_with_uv(sample):
    with pytest.raises(ImagesmithError) as stopped:
        PipToolsSolver().solve(question(sample, "alpha", "nosuch"))
    assert stopped.value.exit_code is ExitCode.MISSING
    assert [f.subject for f in stopped.value.findings] == ["nosuch"]


def test_a_credential_is_in_no_argument(sample, hermetic):
    sample.password = ("me", "s3cret")
    url = sample.url.replace("//", "//me:s3cret@")
    start, arguments = subprocess.run, []

    def watched(argv, **options):
        arguments.extend(map(str, argv))
        return start(argv, **options)

    hermetic.setattr(subprocess, "run", watched)
    asked = Question(("alpha",), (), HERE, Indexes(url))
    assert b"s3cret" not in PipToolsSolver().solve(asked)
    assert arguments
    assert not any("s3cret" in argument for argument in arguments)


class TestRequirementsTxt:
    @pytest.fixture
    def folder(self, capture, distribution, sample, store, tmp_path):
        captured = capture(distribution("alpha", requires=["beta"]), modules=["alpha"])
        resolved = resolve(
            Wanted(captured.environment, captured.modules, captured.cloudpickle),
            HERE,
            wish=Wish(),
            sources=Sources(sample.url),
            solver=UvSolver(),
            maker=NoMaker(),
            store=store,
            progress=Silent(),
        )
        write(resolved.lock, tmp_path / "lock")
        return tmp_path / "lock"

    def run(self, folder, index, *argv):
        done = subprocess.run(
            [sys.executable, "-m", "piptools", *argv],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "PIP_INDEX_URL": index.url, "HOME": str(folder)},
        )
        assert done.returncode == 0, done.stderr
        return done

    def test_pip_compile_takes_it_and_has_nothing_to_add(self, folder, sample):
        argv = ("compile", REQUIREMENTS, "-o", "again.txt", "--generate-hashes", "--no-header")
        self.run(folder, sample, *argv, "--no-annotate", "--no-emit-index-url", "--allow-unsafe")
        pins = [
            [line.split()[0] for line in (folder / name).read_text().splitlines() if "==" in line]
            for name in (REQUIREMENTS, "again.txt")
        ]
        assert pins[0] == pins[1]
        assert len(pins[0]) == 6

    def test_pip_sync_installs_from_it(self, folder, sample, tmp_path):
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
        python = tmp_path / "env" / "bin" / "python"
        self.run(folder, sample, "sync", "--python-executable", python, REQUIREMENTS)
        code = "import alpha, beta; print(alpha.VERSION, beta.VERSION)"
        shown = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        assert shown.stdout == "1.0 2.0\n"
