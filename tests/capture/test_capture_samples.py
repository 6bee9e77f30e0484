"""The samples' file, and what the function answers to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.capture import bundle, samples
from imagesmith.capture.bundle import Samples
from imagesmith.findings import ExitCode, ImagesmithError, Severity


def fault_of(path, label="doubles"):
    with pytest.raises(ImagesmithError) as failed:
        samples.load(path, label)
    (finding,) = failed.value.findings
    assert finding.code == "usage.samples"
    return finding.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[1.0],\n [2.0]", "line 2"),
        ('{"input": [1.0]}', "inputs"),
        ("1.5", "one float"),
        ("[" * 100_000, "nested"),
        ('{"inputs": [], "answers": null}', "empty"),
        ('{"inputs": [[1]], "answers": null}', "input 0"),
        ('{"inputs": [[1.0]]}', "answers"),
        ('{"inputs": [[1.0]], "answers": {"batch": ["1"], "single": [1]}}', "no string"),
        ('{"inputs": [[1.0]], "answers": {"batch": ["1"], "single": []}}', "each input"),
        ('{"inputs": [[1.0]], "answers": {"batch": ["1"]}}', "form"),
        ("[]", "empty"),
        ("[[1.0], [1]]", "input 1"),
        ("[[1.0], []]", "input 1"),
        ("\ufeff[", "JSON"),
    ],
)
def test_what_is_wrong_with_a_file_of_samples_is_told_with_its_place(tmp_path, text, said):
    path = tmp_path / "samples.json"
    path.write_text(text)
    assert said in fault_of(path)


def test_a_plain_list_of_samples_has_no_answers(tmp_path):
    path = tmp_path / "samples.json"
    path.write_text("[[1.0], [2.5]]")
    assert samples.load(path, "doubles") == Samples(([1.0], [2.5]), None)


def test_the_samples_of_a_bundle_bring_their_answers(project, tmp_path):
    project.copy("functions")
    captured = project.capture("echo.py:predict", samples=["a", "b"])
    bundle.write(captured, tmp_path / "bundle")
    assert samples.load(tmp_path / "bundle" / "samples.json", "strings") == captured.samples


def test_a_file_of_samples_that_is_not_there_is_told(tmp_path):
    assert "cannot be read" in fault_of(tmp_path / "nowhere.json")


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda v: repr(v).encode()))
def test_any_bytes_are_samples_or_a_finding(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    try:
        assert samples.load(path, "strings")
    except ImagesmithError as failed:
        assert failed.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("label", "inputs", "answers"),
    [
        ("doubles", [[1.5, 2.0], [3.0]], ("[1.5, 2.0]", "[3.0]")),
        ("floats", [[0.5]], ("[0.5]",)),
        ("integers", [[1, -2]], ("[1, -2]",)),
        ("bytes", ["/wA="], ("[-1, 0]",)),
        ("strings", ["é"], ("'é'",)),
    ],
)
def test_the_function_is_asked_with_every_type_of_input(project, label, inputs, answers):
    project.copy("functions")
    captured = project.capture("echo.py:predict", label, samples=inputs)
    assert captured.samples.inputs == tuple(inputs)
    assert captured.samples.answers.batch == captured.samples.answers.single == answers


def test_strings_arrive_as_bytes_where_that_is_asked_for(project):
    project.copy("functions")
    captured = project.capture("echo.py:predict", samples=["é"], strings="bytes")
    assert captured.samples.answers.single == (repr("é".encode()),)


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("raises", "verify.sample-raised", "ValueError: a length below zero (sample 2 of 2)"),
        ("too_few", "verify.wrong-count", "1 answers for 2 inputs"),
        ("a_string", "verify.not-a-list", "a string"),
        ("nothing", "verify.not-a-list", "None"),
        ("not_text", "verify.not-text", "bytes that are not utf-8"),
        ("surrogates", "verify.not-text", "surrogates"),
        ("unspeakable", "verify.sample-raised", "has no text"),
    ],
)
def test_a_function_that_fails_on_its_samples_is_told_once(project, target, code, said):
    project.copy("functions")
    found = project.fails(f"faulty.py:{target}", "doubles", samples=[[1.0], [-1.0]])
    assert list(found) == [code]
    assert said in found[code].message


def test_the_traceback_of_a_failing_function_is_in_the_log(project):
    project.copy("functions")
    project.fails("faulty.py:raises", "doubles", samples=[[-1.0]])
    assert project.log.count("Traceback") == 1
    assert "faulty.py" in project.log


def test_answers_that_depend_on_the_batch_are_told(project):
    project.copy("functions")
    project.capture("faulty.py:batch_dependent", "doubles", samples=[[1.0], [3.0]])
    (finding,) = project.heard.findings
    assert (finding.code, finding.severity) == ("verify.batch-dependent", Severity.WARNING)


def test_without_numpy_nothing_is_asked(project, venv):
    project.copy("functions")
    captured = project.capture("echo.py:predict", samples=["a"], env=venv.prefix)
    assert captured.samples.inputs == ("a",)
    assert captured.samples.answers is None
    assert project.heard.codes == ["capture.no-numpy"]


def test_numpy_is_not_needed_because_samples_were_given(project):
    project.copy("functions")
    captured = project.capture("echo.py:upper", samples=["a"])
    assert captured.modules == ("cloudpickle",)
