"""What a file says is wanted, whichever its kind: pyproject.toml, and what all kinds share."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imagesmith.capture.sources import read_specification
from imagesmith.findings import ExitCode, ImagesmithError, Severity


def test_a_projects_dependencies_and_python_are_read(read):
    specification, findings = read(
        "pyproject.toml",
        """\
        [build-system]
        requires = ["hatchling"]
        [project]
        name = "model"
        requires-python = ">=3.9,<3.12"
        dependencies = [
            "numpy>=1.20",
            "six @ https://h.example/six.whl",
        ]
        [project.optional-dependencies]
        test = ["pytest"]
        """,
    )
    assert (specification.name, specification.python) == ("model", "<3.12,>=3.9")
    assert [(r.name, r.kind) for r in specification.pip] == [("numpy", "index"), ("six", "url")]
    assert specification.pip[1].where.endswith("pyproject.toml:8")
    assert [finding.severity for finding in findings] == [Severity.NOTE]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[tool.poetry]\nname = 'x'\n", [""]),
        ("[project]\nname = 'x'\ndynamic = ['dependencies']\n", [""]),
        ("[project]\ndependencies = 'numpy'\n", [""]),
        (
            "[project]\ndependencies = [\n'numpy=1',\n'ok',\n1,\n'-r x.txt',\n'./x']\n",
            [":3", ":3", ":6", ":7"],
        ),
        ("[project]\nrequires-python = 'three'\ndependencies = []\n", [":2"]),
        ("[project]\nrequires-python = 3\ndependencies = []\n", [":2"]),
        ("project = 1\n", [""]),
        ("[project\n", [""]),
        (b"\xff\xfe", [""]),
        ("a = " + "[" * 5000, [""]),
    ],
)
def test_what_is_wrong_with_a_project_is_told(wrong, text, lines):
    assert wrong("pyproject.toml", text) == [f"pyproject.toml{line}" for line in lines]


@pytest.mark.parametrize("name", ["conda-lock.yml", "setup.py", "model", "environment.json"])
def test_a_name_that_does_not_tell_what_it_is_is_refused(wrong, name):
    assert wrong(name, "numpy\n") == [name]


@pytest.mark.parametrize("name", ["gone.txt", "environment-gone.yml", "pyproject.toml", "a\0b.txt"])
def test_a_file_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(ImagesmithError, match="cannot be read"):
        read_specification(tmp_path / name)


SECRET = {
    "environment.yml": """\
        channels:
        - https://me:secret@h.example/conda
        - https://h.example/t/secret/lab
        dependencies:
        - https://me:secret@h.example/conda::numpy
        - pip:
          - --index-url https://me:secret@h.example/simple
          - --extra-index-url https://me:secret@h.example/more
          - mine @ https://me:secret@h.example/mine.whl?sig=secret
          - git+https://secret@h.example/a.git
        """,
    "requirements.txt": """\
        --find-links https://me:secret@h.example/wheels
        mine @ https://me:secret@h.example/mine.whl?sig=secret
        -e git+https://secret@h.example/a.git#egg=a
        """,
    "pyproject.toml": """\
        [project]
        dependencies = ["mine @ https://me:secret@h.example/mine.whl?sig=secret"]
        """,
}


@pytest.mark.parametrize("name", SECRET)
def test_credentials_are_kept_for_use_and_shown_nowhere(read, name):
    specification, findings = read(name, SECRET[name])
    held = [r.line for r in specification.pip]
    assert all("secret" in line for line in held)
    assert "secret" not in repr(specification)
    assert "secret" not in json.dumps(specification.public)
    assert not findings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("environment.yml", "dependencies:\n- https://me:secret@h.example/c::numpy=\n"),
        ("environment.yml", "dependencies:\n- https://me:sec/secret@h.example/c::numpy\n"),
        ("environment.yml", "channels: ['https://me:se/secret@h.example/c']\ndependencies: [a]\n"),
        ("environment.yml", "dependencies: ['https://me:secret@h.example/x-1-0.conda']\n"),
        ("requirements.txt", "mine= @ https://me:secret@h.example/mine.whl\n"),
        ("requirements.txt", "--index https://me:secret@h.example/mine.whl\n"),
        ("requirements.txt", "-xhttps://me:secret@h.example/mine.whl\n"),
        ("requirements.txt", "mine https://me:secret@h.example/mine.whl --x\n"),
        ("pyproject.toml", "[project]\ndependencies = ['a= @ https://me:secret@h.example/m']\n"),
    ],
)
def test_credentials_are_in_no_finding(refused, name, text):
    findings = refused(name, text)
    assert "secret" not in json.dumps([finding.as_dict() for finding in findings])


PARTS = [
    *"-#\\\n\t \"'[]{}<>=!~;:,@$&*|/.?%\0\x85\ud800é",
    *("numpy", "1.0", "python", "pip", "any.txt", "https://", "git+", "::", "==", "${HOME}"),
    *("dependencies:", "channels:", "\n- ", "\n  - ", "[project]\n", "dependencies = "),
    *("- ", "-r ", "-e ", "-c a.txt", "--hash="),
]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=30).map(
    lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
)
HEADS = {
    "environment.yml": b"channels:\n- a\ndependencies:\n- pip:\n  - ",
    "pyproject.toml": b"[project]\nrequires-python = '3'\ndependencies = ['",
    "any.txt": b"-r any.txt\n",
}


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(sorted(HEADS)), data=st.binary(max_size=100) | TEXTS, headed=st.booleans()
)
@example(name="environment.yml", data=b"? &a [*a]\n: b", headed=False)
@example(name="environment.yml", data=b"dependencies:\n- ~unknown-user/x::numpy", headed=False)
@example(name="any.txt", data=b"~unknown-user/x\n-r " + b"x" * 5000, headed=False)
@example(name="any.txt", data=b"-e .[x\n-e ''\n-r ''\n-c ''\n./a]", headed=False)
def test_no_file_makes_reading_fail_but_by_findings(tmp_path, name, data, headed):
    (tmp_path / name).write_bytes(HEADS[name] * headed + data)
    try:
        specification, findings = read_specification(tmp_path / name)
        json.dumps(specification.public, ensure_ascii=False).encode()
    except ImagesmithError as stopped:
        findings = stopped.findings
        assert stopped.exit_code is ExitCode.USAGE
    for finding in findings:
        assert (finding.subject + finding.message + finding.remedy).isprintable()
