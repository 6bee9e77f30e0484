"""A build leaves a record of how its image came to be; one that changes nothing leaves it alone."""

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from imagesmith.build.layers import LayersBuilder
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.plan import FilesLayer, ImagePlan, PrefixLayer
from imagesmith.image.sbom import sbom
from imagesmith.image.tar import file_member
from imagesmith.progress import Silent
from imagesmith.record import make, revision
from imagesmith.record.make import Build
from imagesmith.record.record import BUILDS, BuildRecord, find
from imagesmith.record.revision import Revision, revision_of
from imagesmith.render import dockerfile
from imagesmith.resolve.lock import Lock
from imagesmith.resolve.platform import Target
from imagesmith.store import Store, hex_of, sha256_file

CREATED = "1970-01-01T00:00:00Z"
CONFIG = oci.ImageConfig(user="1000:1000")
BEGAN = 1_700_000_000.0


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def project(tmp_path):
    """Give a repository with one commit."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "model.py").write_text("X = 1\n")
    git(folder, "init", "--quiet")
    git(folder, "remote", "add", "origin", "https://me:s3cret@git.example/me.git")
    commit(folder)
    return folder


def git(folder, *arguments):
    who = ("-c", "user.name=me", "-c", "user.email=me@example.com")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a change")


def build_in(store, project, config=CONFIG):
    """Give a build over a base of one file, and the image that came of it."""
    layer = write_layer(store, [file_member("etc/os-release", b"ID=tiny\n")], "tiny")
    base = oci.assemble(store, "closure-base:3.11", (layer,), oci.ImageConfig(), CREATED)
    frame = PrefixLayer("3.11", "/usr/bin/python3.11")
    layers = (frame, FilesLayer("model", texts={"model/func.pkl": b"model"}))
    plan = ImagePlan("iris:7", base, layers, config, CREATED)
    capture = SimpleNamespace(target="model.py:predict", python="3.11.2")
    lock = Lock(Target("3.11", "2.36"), ())
    build = Build(capture, plan, lock, "layers", None, None, project, BEGAN)
    return LayersBuilder(store, Silent()).build(plan), build


def recorded(store, image, build, findings=(), compared=0):
    make.record(image, replace(build, codes=findings), store, compared=compared)
    return find(store, image.manifest.digest)


def fail(*_arguments, **_options):
    raise AssertionError("this was done before")


def test_it_says_what_was_built_of_what_and_how(store, project):
    image, build = build_in(store, project)
    found = recorded(store, image, build, ["verify.x"], 3)
    assert (found.reference, found.digest) == ("iris:7", image.manifest.digest)
    assert (found.builder, found.target, found.python) == ("layers", "model.py:predict", "3.11.2")
    assert (found.revision, found.dirty) == (git(project, "rev-parse", "HEAD"), False)
    assert (found.base, found.base_digest) == ("closure-base:3.11", build.plan.base.manifest.digest)
    assert (found.started, found.took > 0) == ("2023-11-14T22:13:20Z", True)
    assert (found.findings, found.compared) == (("verify.x",), 3)
    assert (found.lock, found.imagesmith) == (build.lock.digest, make.__version__)
    assert found.layers == ("tiny", "environment of Python 3.11", "model")


def test_the_dockerfile_is_the_one_that_render_writes(store, project):
    image, build = build_in(store, project)
    kept = store.path(recorded(store, image, build).dockerfile).read_text()
    assert kept == dockerfile(build.plan)
    assert kept.startswith("# iris:7, as imagesmith renders it")


def test_the_bill_of_materials_is_the_images(store, project):
    image, build = build_in(store, project)
    kept = store.path(recorded(store, image, build).sbom).read_bytes()
    assert kept == sbom(build.lock, build.plan.base, CREATED)


def test_a_build_that_changes_nothing_does_and_writes_nothing(store, project, monkeypatch):
    image, build = build_in(store, project)
    first = recorded(store, image, build, ["resolve.first-time"])
    for name in ("_found", "keep"):
        monkeypatch.setattr(make, name, fail)
    assert recorded(store, image, replace(build, began=BEGAN + 9)) == first


@pytest.mark.parametrize(
    "change", ["builder", "target", "compared", "dockerfile gone", "sbom spoilt"]
)
def test_another_build_of_the_same_image_is_noted(store, project, change):
    image, build = build_in(store, project)
    first = recorded(store, image, build)
    other = replace(build, began=BEGAN + 60)
    if change == "builder":
        other = replace(other, builder="docker")
    if change == "target":
        other = replace(other, capture=SimpleNamespace(target="x.py:predict", python="3.11.2"))
    if change == "dockerfile gone":
        store.path(first.dockerfile).unlink()
    if change == "sbom spoilt":
        store.path(first.sbom).write_bytes(b"spoilt")
    again = recorded(store, image, other, compared=int(change == "compared"))
    assert again.started == "2023-11-14T22:14:20Z"
    for blob in (again.dockerfile, again.sbom):
        assert sha256_file(store.path(blob)) == blob


def test_nothing_of_the_build_is_in_the_image(store, project):
    image, build = build_in(store, project)
    found = recorded(store, image, build)
    git(project, "commit", "--quiet", "--allow-empty", "--message", "another")
    again, _ = build_in(store, project)
    assert again == image
    manifest = image.blob(image.manifest.digest).read_text()
    config = image.blob(image.config_blob.digest).read_text()
    for secret in (found.revision, found.platform, found.started, str(project)):
        assert secret not in manifest + config


def test_a_value_that_no_dockerfile_can_hold_leaves_it_out(store, project):
    image, build = build_in(store, project, oci.ImageConfig(env={"A": "two\nlines"}))
    assert recorded(store, image, build).dockerfile is None


def test_a_template_that_cannot_be_read_stops_the_build(store, project, tmp_path):
    image, build = build_in(store, project)
    gone = replace(build, template=tmp_path / "gone.j2")
    with pytest.raises(make.ImagesmithError) as stopped:
        recorded(store, image, gone)
    assert stopped.value.findings[0].code == "build.template-missing"


def test_an_image_from_elsewhere_and_a_record_of_another_version_are_none(store, project):
    image, build = build_in(store, project)
    assert find(store, image.manifest.digest) is None
    fact = recorded(store, image, build).as_json()
    for other in ({**fact, "more": 1}, {"reference": "iris:7"}, [], None):
        store.remember(BUILDS, hex_of(image.manifest.digest), other)
        assert find(store, image.manifest.digest) is None


def test_a_record_reads_back_from_json(store, project):
    image, build = build_in(store, project)
    found = recorded(store, image, build)
    assert BuildRecord.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_no_login_of_a_remote_is_in_the_record(store, project):
    image, build = build_in(store, project)
    assert "s3cret" not in json.dumps(recorded(store, image, build).as_json())


def test_a_changed_or_a_new_file_makes_a_project_dirty(project):
    head = git(project, "rev-parse", "HEAD")
    (project / "sub").mkdir()
    assert revision_of(project / "sub") == Revision(head, dirty=False)
    (project / "model.py").write_text("X = 2\n")
    assert revision_of(project / "sub") == Revision(head, dirty=True)
    git(project, "checkout", "--quiet", "model.py")
    (project / "helper.py").write_text("")
    assert revision_of(project) == Revision(head, dirty=True)


def test_a_folder_without_a_commit_has_no_revision(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revision_of(tmp_path) is None
    assert revision_of(tmp_path / "gone") is None
    git(tmp_path, "init", "--quiet")
    assert revision_of(tmp_path) is None


def test_without_git_there_is_no_revision(project, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision_of(project) is None


def test_a_git_that_does_not_answer_is_given_up(project, monkeypatch, tmp_path):
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    monkeypatch.setattr(revision, "_PATIENCE", 0.05)
    assert revision_of(project) is None


def test_the_repository_of_a_hook_that_calls_us_is_not_taken_for_it(project, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other.git"))
    assert revision_of(project) is not None
