"""A capture is taken from the store exactly where it would come out the same."""

import os
from pathlib import Path

import pytest

TARGET = "model.py:predict"
MODEL = """
from pathlib import Path
WORD = Path(__file__).with_name('word.txt').read_text()
def predict(inputs):
    return [WORD for _ in inputs]
"""


@pytest.fixture
def captured_once(project):
    project.write(model=MODEL)
    (project.folder / "word.txt").write_text("one")
    project.capture(TARGET, samples=["a"])
    assert not project.heard.was_stored
    return project


def touch_later(path):
    """Give a file another time; its content stays."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))


def test_an_unchanged_target_is_taken_from_the_store(captured_once):
    again = captured_once.capture(TARGET, samples=["a"])
    assert captured_once.heard.was_stored
    assert again.samples.answers.single == ("one",)


def test_nothing_of_the_users_runs_then(captured_once, monkeypatch):
    def run_agent(*_, **__):
        pytest.fail("the agent ran")

    monkeypatch.setattr("imagesmith.capture.take._run_agent", run_agent)
    captured_once.capture(TARGET, samples=["a"])
    assert captured_once.heard.was_stored


def test_another_name_and_version_need_no_new_capture(captured_once):
    again = captured_once.capture(TARGET, samples=["a"], name="other", version="v2")
    assert captured_once.heard.was_stored
    assert (again.name, again.version) == ("other", "v2")


def test_warnings_are_told_again(project, twice):
    project.copy("functions")
    for _ in range(2):
        project.capture("unseeded.py:predict")
        assert project.heard.codes == ["capture.unsteady"]
    assert project.heard.was_stored


def change_source(project):
    project.write(model=MODEL + "\n")
    return {}


def change_data(project):
    (project.folder / "word.txt").write_text("two")
    return {}


def add_file(project):
    (project.folder / "config.ini").touch()
    return {}


def touch(project):
    touch_later(project.folder / "word.txt")
    return {}


CHANGES = {
    "source": change_source,
    "a file that it reads": change_data,
    "a new file in its folder": add_file,
    "the time of a file": touch,
    "the samples": lambda _: {"samples": ["a", "b"]},
    "no samples": lambda _: {"samples": None},
    "the input type": lambda _: {"input_type": "bytes", "samples": ["YQ=="]},
    "how strings arrive": lambda _: {"strings": "bytes"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_needs_a_new_capture(captured_once, change):
    asked = {"samples": ["a"], **change(captured_once)}
    captured_once.capture(TARGET, **asked)
    assert not captured_once.heard.was_stored


@pytest.mark.parametrize("folder", [".git", "__pycache__", "node_modules"])
def test_what_is_no_source_does_not_count(captured_once, folder):
    (captured_once.folder / folder).mkdir()
    (captured_once.folder / folder / "file").touch()
    captured_once.capture(TARGET, samples=["a"])
    assert captured_once.heard.was_stored


def test_a_bundle_written_into_the_project_does_not_count(captured_once):
    from imagesmith.capture import bundle

    bundle.write(captured_once.capture(TARGET, samples=["a"]), captured_once.folder / "bundle")
    captured_once.capture(TARGET, samples=["a"])
    assert captured_once.heard.was_stored


def test_a_file_read_outside_the_project_counts(project, tmp_path):
    outside = tmp_path / "outside" / "weights.txt"
    outside.parent.mkdir()
    outside.write_text("1")
    project.write(
        model=f"W = open({str(outside)!r}).read()\ndef predict(inputs): return [W for _ in inputs]"
    )
    project.capture(TARGET)
    project.capture(TARGET)
    assert project.heard.was_stored
    outside.write_text("2")
    project.capture(TARGET)
    assert not project.heard.was_stored


def test_a_module_outside_the_project_that_nothing_loaded_yet_counts(project, venv, tmp_path):
    (tmp_path / "src").mkdir()
    lazy = tmp_path / "src" / "lazy.py"
    lazy.write_text("X = 1\n")
    (venv.site / "src.pth").write_text(str(tmp_path / "src"))
    project.write(
        model="def predict(inputs):\n    import lazy\n    return [lazy.X for _ in inputs]\n"
    )
    for _ in range(2):
        project.capture(TARGET, env=venv.prefix)
    assert project.heard.was_stored
    lazy.write_text("X = 2\n")
    project.capture(TARGET, env=venv.prefix)
    assert not project.heard.was_stored


def test_an_environment_variable_that_it_asks_for_counts(project, monkeypatch):
    project.write(
        model="import os\nW = os.getenv('WEIGHT', '0')\n"
        "def predict(inputs): return [W for _ in inputs]\n"
    )
    project.capture(TARGET)
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    project.capture(TARGET)
    assert project.heard.was_stored
    monkeypatch.setenv("WEIGHT", "1")
    project.capture(TARGET)
    assert not project.heard.was_stored


def test_installing_something_counts(project, venv):
    project.write(model="def predict(inputs): return inputs\n")
    for _ in range(2):
        project.capture(TARGET, env=venv.prefix)
    assert project.heard.was_stored
    venv.install("new", "1.0")
    project.capture(TARGET, env=venv.prefix)
    assert not project.heard.was_stored


def test_another_interpreter_counts(project, venv):
    project.write(model="def predict(inputs): return inputs\n")
    project.capture(TARGET)
    project.capture(TARGET, env=venv.prefix)
    assert not project.heard.was_stored


@pytest.mark.parametrize(
    "outside",
    [
        "import socket\nsocket.getaddrinfo('localhost', 80)",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true')",
    ],
)
def test_a_target_that_reaches_outside_is_captured_anew(project, outside):
    project.write(model=f"{outside}\ndef predict(inputs): return inputs\n")
    for _ in range(2):
        project.capture(TARGET)
        assert not project.heard.was_stored


def test_a_target_that_changes_its_own_folder_is_captured_anew(project):
    project.write(
        model="import time\nopen('log.txt', 'a').write('x')\ndef predict(inputs): return inputs\n"
    )
    for _ in range(2):
        project.capture(TARGET)
        assert not project.heard.was_stored


def test_a_folder_of_very_many_files_is_captured_anew(project, monkeypatch):
    project.write(model="def predict(inputs): return inputs\n")
    monkeypatch.setattr("imagesmith.capture.witness._MOST_FILES", 50)
    for number in range(51):
        (project.folder / f"{number}.txt").touch()
    for _ in range(2):
        project.capture(TARGET)
        assert not project.heard.was_stored


def test_a_damaged_store_is_mended_by_a_new_capture(captured_once):
    kept = captured_once.capture(TARGET, samples=["a"])
    (kept.folder / "func.pkl").write_bytes(b"damaged")
    again = captured_once.capture(TARGET, samples=["a"])
    assert not captured_once.heard.was_stored
    assert again.files == kept.files
    captured_once.capture(TARGET, samples=["a"])
    assert captured_once.heard.was_stored


def test_odd_names_and_links_in_the_folder_do_no_harm(captured_once):
    Path(os.fsdecode(bytes(captured_once.folder) + b"/caf\xe9.txt")).touch()
    (captured_once.folder / "circle").symlink_to("circle")
    (captured_once.folder / "nothing").symlink_to("nowhere")
    for _ in range(2):
        captured_once.capture(TARGET, samples=["a"])
    assert captured_once.heard.was_stored


def test_a_read_file_whose_name_is_no_text_needs_a_new_capture(project):
    path = os.fsdecode(bytes(project.folder) + b"/caf\xe9.txt")
    Path(path).write_text("1")
    project.write(
        model=f"W = open({path!r}).read()\ndef predict(inputs): return [W for _ in inputs]"
    )
    for _ in range(2):
        project.capture(TARGET)
        assert not project.heard.was_stored


def test_the_users_folder_is_left_as_it_was(captured_once):
    assert {p.name for p in captured_once.folder.iterdir()} == {"model.py", "word.txt"}
