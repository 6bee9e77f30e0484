"""A context is all that a builder needs, whole, and the same bytes wherever it is rendered."""

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest
from plans import lock_of, no_byte_code

from imagesmith.findings import ImagesmithError
from imagesmith.image.layer import RECIPE
from imagesmith.image.plan import FilesLayer, key
from imagesmith.render import render
from imagesmith.store import key_of, sha256, sha256_file


@pytest.fixture
def into(plan, shop, wheels):
    """Give a function that renders the plan into a folder."""

    def run(folder, **changes):
        render(replace(plan, **changes), shop, lock_of(wheels), no_byte_code, folder)
        return folder

    return run


def tree(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


def test_it_holds_what_the_docs_say_and_nothing_else(into, tmp_path):
    assert sorted(tree(into(tmp_path / "context"))) == [
        *("Dockerfile", "SHA256SUMS", "check.py", "layers", "layers/00-base.tar"),
        *("layers/01-system.tar", "layers/02-python.tar", "layers/03-anvil.tar"),
        *("layers/04-wheels.tar", "layers/05-lock.tar", "layers/06-runtime.tar"),
        *("layers/07-model.tar", "pylock.toml", "record.json", "requirements.txt"),
    ]


def test_two_renders_give_the_same_bytes_and_modes(into, tmp_path):
    first = into(tmp_path / "one")
    before = os.umask(0o077)
    try:
        second = into(tmp_path / "far" / "two")
    finally:
        os.umask(before)
    assert tree(first) == tree(second)


def test_a_second_render_takes_the_place_of_the_first(into, tmp_path):
    before = tree(into(tmp_path / "context"))
    after = tree(into(tmp_path / "context", reference="m:2"))
    assert before.keys() == after.keys()
    assert b"m:2" in after["Dockerfile"][1]
    assert not list(tmp_path.glob(".context*"))


def times_of(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in files}


def test_a_files_time_is_of_its_contents_so_that_buildkit_sends_what_has_changed(
    into, plan, tmp_path
):
    model = FilesLayer("model", texts={"model/func.pkl": b"other"})
    first = times_of(into(tmp_path / "one"))
    second = times_of(into(tmp_path / "two", layers=(*plan.layers[:-1], model)))
    differing = {str(path) for path in first if first[path] != second[path]}
    assert differing == {"SHA256SUMS", "record.json", "layers/07-model.tar"}


def test_each_layer_is_a_tar_of_its_members(into, tmp_path):
    folder = into(tmp_path / "context") / "layers"
    with tarfile.open(folder / "07-model.tar", "r:") as tar:
        assert tar.getnames() == ["model", "model/func.pkl", "model/é"]
    with tarfile.open(folder / "00-base.tar", "r:") as tar:
        assert tar.getnames() == ["etc", "etc/os-release"]
    with tarfile.open(folder / "01-system.tar", "r:") as tar:
        names = ("libtool.so.1", "libtool.so.1.0")
        assert tar.getnames()[-2:] == [f"usr/lib/x86_64-linux-gnu/{name}" for name in names]


def test_each_wheel_is_named_where_its_layer_is_added(into, tmp_path):
    text = (into(tmp_path / "context") / "Dockerfile").read_text()
    assert "# anvil 1.0\nADD layers/03-anvil.tar /\n" in text
    assert "# feather 1.0, leaf 1.0\nADD layers/04-wheels.tar /\n" in text


def test_the_record_says_what_it_is_of_and_not_where_or_when(into, plan, tmp_path):
    folder = into(tmp_path / "context")
    record = json.loads((folder / "record.json").read_bytes())
    assert record.keys() == {"reference", "base", "layers", "template"}
    assert record["base"]["digest"] == plan.base.manifest.digest
    for layer in record["layers"]:
        assert layer["digest"] == sha256_file(folder / layer["file"])
    assert str(tmp_path) not in str({name: data for name, (_, data) in tree(folder).items()})


def checked(folder, *made):
    command = [sys.executable, "-I", folder / "check.py", *made]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_whole_context_passes_its_own_check(into, tmp_path):
    before = tree(into(tmp_path / "context"))
    assert checked(tmp_path / "context").returncode == 0
    assert checked(tmp_path / "context", tmp_path / "checked").returncode == 0
    assert list((tmp_path / "checked").iterdir()) == []
    assert tree(tmp_path / "context") == before


@pytest.mark.parametrize("name", ["layers/07-model.tar", "pylock.toml", "record.json"])
@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"other"), lambda p: p.unlink()])
def test_a_spoilt_context_fails_its_own_check(into, tmp_path, name, spoil):
    folder = into(tmp_path / "context")
    spoil(folder / name)
    done = checked(folder, tmp_path / "checked")
    assert not (tmp_path / "checked").exists()
    assert (done.returncode, done.stderr) == (
        1,
        f"{name} is not the file that SHA256SUMS names\n",
    )


def something_else(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("x")


def a_file(folder):
    folder.write_text("x")


def something_added(folder):
    (folder / "model.bin").write_text("x")


@pytest.mark.parametrize("make", [something_else, a_file])
def test_what_is_no_context_is_left_alone(into, tmp_path, make):
    make(tmp_path / "context")
    with pytest.raises(ImagesmithError, match="is there already") as found:
        into(tmp_path / "context")
    assert found.value.findings[0].code == "publish.occupied"


def test_a_context_with_files_of_the_users_own_is_left_alone(into, tmp_path):
    something_added(into(tmp_path / "context"))
    with pytest.raises(ImagesmithError, match="is there already"):
        into(tmp_path / "context")
    assert (tmp_path / "context" / "model.bin").exists()


def test_a_layer_that_is_not_what_was_built_is_refused(into, plan, shop, tmp_path):
    """As where a recipe was changed and its number was not."""
    wrong = {"digest": sha256(b""), "size": 0, "diff_id": sha256(b"other")}
    shop.remember("layers", key_of("layer", RECIPE, key(plan.layers[-1], plan.base)), wrong)
    with pytest.raises(ImagesmithError, match="model") as found:
        into(tmp_path / "context")
    assert found.value.findings[0].code == "build.file"
    assert not (tmp_path / "context").exists()


def test_a_damaged_wheel_is_named_and_nothing_is_written(into, shop, wheels, tmp_path):
    shop.path(wheels[0].digest).write_bytes(b"no zip")
    with pytest.raises(ImagesmithError, match="anvil") as found:
        into(tmp_path / "context")
    assert found.value.findings[0].code == "build.damaged"
    assert not [path for path in tmp_path.iterdir() if "context" in path.name]


def test_a_damaged_base_is_named_and_nothing_is_written(into, plan, shop, tmp_path):
    blob = shop.path(plan.base.layers[0].blob.digest)
    blob.write_bytes(blob.read_bytes()[:-9])
    with pytest.raises(ImagesmithError, match="closure-base") as found:
        into(tmp_path / "context")
    assert found.value.findings[0].code == "build.damaged"
    assert not (tmp_path / "context").exists()
