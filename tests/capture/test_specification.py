"""What a file says is wanted, and what is wrong with it: everything, by file and line."""

import json
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imagesmith.capture.sources import read_specification
from imagesmith.findings import ExitCode, ImagesmithError, Severity

FORGE = "https://conda.anaconda.org/conda-forge"
MAIN = "https://repo.anaconda.com/pkgs/main"
R = "https://repo.anaconda.com/pkgs/r"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project's folder, and a home without condarc files."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CONDARC", raising=False)
    return tmp_path


@pytest.fixture
def read(folder):
    """Give a function that writes a file and reads it: the specification, and its findings."""

    def write_and_read(name, text):
        data = text if isinstance(text, bytes) else dedent(text).encode()
        (folder / name).write_bytes(data)
        return read_specification(folder / name)

    return write_and_read


@pytest.fixture
def wrong(read, folder):
    """Give a function that reads a file that is wrong: the lines of it that are refused."""

    def lines(name, text):
        with pytest.raises(ImagesmithError) as failed:
            read(name, text)
        assert failed.value.exit_code is ExitCode.USAGE
        assert {finding.code for finding in failed.value.findings} == {"usage.specification"}
        refused = [f for f in failed.value.findings if f.severity is Severity.ERROR]
        assert all(f.message and f.remedy for f in refused)
        lines.findings = refused
        return [f.subject.removeprefix(f"{folder}/") for f in refused]

    return lines


# --- environment.yml ----------------------------------------------------------------------------


def test_what_conda_exports_is_read(read):
    specification, findings = read(
        "environment.yml",
        """\
        name: model
        channels:
          - conda-forge
          - defaults
        dependencies:
          - appnope=0.1.3=pyhd8ed1ab_0  # of the mac
          - python=3.11.7=hdf0ec26_1_cpython
          - pip:
            - imagesmith-demo==0.1
            - "tomli>=2; python_version < '3.11'"
        prefix: /Users/me/miniforge3/envs/model
        """,
    )
    assert not findings
    assert specification.name == "model"
    assert specification.python == "==3.11.7"
    assert specification.channels == (FORGE, MAIN, R)
    assert [spec.text for spec in specification.conda] == ["appnope ==0.1.3", "python ==3.11.7"]
    assert [spec.build for spec in specification.conda] == ["pyhd8ed1ab_0", "hdf0ec26_1_cpython"]
    assert [requirement.line for requirement in specification.pip] == [
        "imagesmith-demo==0.1",
        'tomli>=2; python_version < "3.11"',
    ]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("numpy", "numpy"),
        ("NumPy", "numpy"),
        ("numpy=1.26", "numpy 1.26.*"),
        ("numpy==1.26.4", "numpy ==1.26.4"),
        ("numpy>=1.20,<2", "numpy >=1.20,<2"),
        ("numpy >=1.20, <2", "numpy >=1.20,<2"),
        ("python 3.11.*", "python 3.11.*"),
        ("python=3.10", "python 3.10.*"),
        ("numpy 1.26.4 py311_0", "numpy ==1.26.4"),
        ("'numpy[version=\">=1.2\",build=py311_0]'", "numpy >=1.2"),
        ("conda-forge/osx-arm64::numpy=1.26.4=py311_0", "numpy ==1.26.4"),
        ("'conda-forge::numpy[subdir=osx-arm64]'", "numpy"),
    ],
)
def test_a_spec_keeps_what_another_platform_may_have(read, written, text):
    specification, _ = read("environment.yml", f"dependencies: \n- {written}\n")
    assert [spec.text for spec in specification.conda] == [text]


def test_a_spec_may_name_its_channel(read, folder):
    specification, _ = read(
        "environment.yaml",
        """\
        channels: [bioconda]
        dependencies:
        - conda-forge::numpy
        - conda-forge/osx-arm64::scipy
        - 'pandas[channel=defaults, subdir=osx-arm64]'
        - https://h.example/lab::tool
        - ./here::mine
        """,
    )
    assert [spec.channels for spec in specification.conda] == [
        (FORGE,),
        (FORGE,),
        (MAIN, R),
        ("https://h.example/lab",),
        ((folder / "here").as_uri(),),
    ]
    assert [spec.subdir for spec in specification.conda][1:3] == ["osx-arm64"] * 2
    assert specification.channels == ("https://conda.anaconda.org/bioconda",)


def test_without_channels_those_of_the_user_count(read, folder):
    assert read("environment.yml", "dependencies: [python]")[0].channels == (MAIN, R)
    (folder / "home/.condarc").write_text("channels: [conda-forge]\n")
    assert read("environment.yml", "dependencies: [python]")[0].channels == (FORGE,)
    mixed = "channels: [nodefaults, lab]\ndependencies: [python]"
    assert read("environment.yml", mixed)[0].channels == ("https://conda.anaconda.org/lab",)


def test_requirements_files_are_included_from_where_the_file_lies(read, folder):
    (folder / "more").mkdir()
    (folder / "more/base.txt").write_text("six\n-r ../rest.txt\n")
    (folder / "rest.txt").write_text("mine @ https://h.example/mine.whl\n")
    (folder / "setup.py").touch()
    specification, _ = read(
        "environment.yml",
        """\
        dependencies:
          - pip
          - pip:
            - -r more/base.txt
            - -e .
            - --extra-index-url https://h.example/simple
        """,
    )
    assert [(r.kind, r.name, r.editable) for r in specification.pip] == [
        ("index", "six", False),
        ("url", "mine", False),
        ("path", None, True),
    ]
    assert specification.pip[0].where == f"{folder}/more/base.txt:1"
    assert specification.pip[2].line == str(folder)
    assert specification.extra_index_urls == ("https://h.example/simple",)


def test_every_fault_of_an_environment_file_is_told_at_once(wrong):
    assert wrong(
        "environment.yml",
        """\
        name: model
        channels: conda-forge
        dependencies:
          - numpy=
          - python: 3.11
          - npm: [left-pad]
          - [nested]
          -
          - pip:
            - not a requirement
            - -r gone.txt
            - --pre
            - [nested]
          - https://h.example/linux-64/numpy-1.26-0.conda
        name: again
        """,
    ) == [
        "environment.yml:14",
        "environment.yml:2",
        *(f"environment.yml:{number}" for number in (4, 5, 6, 7, 8, 10, 11, 12, 13)),
    ][:0] or sorted(
        {finding.subject.rpartition(":")[2] for finding in wrong.findings}, key=int
    ) == [
        "2",
        "4",
        "5",
        "6",
        "7",
        "8",
        "10",
        "11",
        "12",
        "13",
        "14",
        "15",
    ]


def test_a_colon_in_place_of_an_equals_sign_gets_the_line_to_write(wrong):
    wrong("environment.yml", "dependencies:\n- python: 3.10\n")
    assert wrong.findings[0].remedy == "write it as python=3.10"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("dependencies:\n\t- numpy\n\t- scipy\n", [":2", ":3"]),
        ("dependencies: [numpy\nname: x\n", [":2"]),
        ("dependencies:\n- a\n  - b: [\n", [":3"]),
        ("- numpy\n- scipy\n", [""]),
        ("numpy\n", [""]),
        ("", [""]),
        ("# nothing\n", [""]),
        ("name: x\n", [""]),
        ("dependencies: {numpy: 1}\n", [":1"]),
        ("a: 1\n---\ndependencies: []\n", [":2"]),
        ("dependencies: [*unknown]\n", [":1"]),
        (b"dependencies: [caf\xe9]\n", [""]),
        (b"dependencies: [a\x00b]\n", [""]),
        ("[" * 5000, [""]),
        ('dependencies:\n- "a\\ud800"\n- "b\\x07"\n', [":2", ":3"]),
    ],
)
def test_what_is_no_environment_file_is_refused_by_its_lines(wrong, text, lines):
    assert wrong("environment.yml", text) == [f"environment.yml{line}" for line in lines]


def test_what_is_passed_over_is_told(read):
    _, findings = read(
        "environment.yml", "dependencies: [python]\nvariables: {A: b}\nchanels: [conda-forge]\n"
    )
    told = [(f.severity, f.subject.rpartition(":")[2]) for f in findings]
    assert told == [(Severity.WARNING, "3"), (Severity.NOTE, "2")]


def test_an_endless_alias_ends(wrong):
    assert wrong("environment.yml", "dependencies: &a [*a]\n") == ["environment.yml:1"]


# --- requirements.txt ---------------------------------------------------------------------------


def test_requirements_are_read_with_comments_and_continued_lines(read):
    specification, findings = read(
        "requirements.txt",
        """\
        # what the model needs
        NumPy >= 1.20, < 2  # not 2
        scikit-learn[alldeps]==1.3.* ; \\
            python_version >= "3.9"

        six; sys_platform == 'win32'
        """,
    )
    assert [requirement.line for requirement in specification.pip] == [
        "NumPy<2,>=1.20",
        'scikit-learn[alldeps]==1.3.*; python_version >= "3.9"',
        'six; sys_platform == "win32"',
    ]
    assert [requirement.name for requirement in specification.pip] == [
        "numpy",
        "scikit-learn",
        "six",
    ]
    assert [requirement.where.rpartition(":")[2] for requirement in specification.pip] == [
        "2",
        "3",
        "6",
    ]
    assert specification.python is None
    assert not findings


def test_requirements_from_elsewhere_say_of_which_kind_they_are(read, folder):
    (folder / "local").mkdir()
    (folder / "thing-1.0-py3-none-any.whl").touch()
    specification, _ = read(
        "requirements.txt",
        """\
        git+https://h.example/a.git@main#egg=From_Git
        b @ git+https://h.example/b.git
        https://h.example/c-1.0-py3-none-any.whl
        d @ https://h.example/d.tar.gz
        ./local[extra] ; python_version > "3.8"
        thing-1.0-py3-none-any.whl
        -e ./local
        -e git+https://h.example/e.git#egg=e
        f @ file:///opt/f.whl
        """,
    )
    assert [(r.kind, r.name, r.editable) for r in specification.pip] == [
        ("vcs", "from-git", False),
        ("vcs", "b", False),
        ("url", "c", False),
        ("url", "d", False),
        ("path", None, False),
        ("path", "thing", False),
        ("path", None, True),
        ("vcs", "e", True),
        ("path", "f", False),
    ]
    assert specification.pip[4].line == f'{folder}/local[extra] ; python_version > "3.8"'


def test_options_say_where_packages_come_from(read, folder, monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    specification, findings = read(
        "requirements.txt",
        """\
        --index-url https://me:${TOKEN}@h.example/simple
        --extra-index-url=https://more.example/simple --extra-index-url https://x.example/${unset}
        -f wheels
        -c limits.txt
        """
        if (folder / "limits.txt").write_text("numpy<2\n")
        else "",
    )
    assert not findings
    assert specification.index_url == "https://me:secret@h.example/simple"
    assert specification.extra_index_urls == (
        "https://more.example/simple",
        "https://x.example/${unset}",
    )
    assert specification.find_links == (str(folder / "wheels"),)
    assert [constraint.line for constraint in specification.constraints] == ["numpy<2"]
    assert specification.pip == ()


def test_hashes_and_what_means_nothing_here_are_noted(read):
    specification, findings = read(
        "requirements.txt",
        """\
        --require-hashes
        --only-binary :all:
        six==1.16.0 \\
            --hash=sha256:1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926 \\
            --hash sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
        """,
    )
    assert [requirement.line for requirement in specification.pip] == ["six==1.16.0"]
    assert {finding.severity for finding in findings} == {Severity.NOTE}
    assert [f.message.partition(" ")[0] for f in findings] == [
        "--require-hashes",
        "--only-binary",
        "--hash",
    ]


def test_every_fault_of_a_requirements_file_is_told_at_once(wrong):
    assert wrong(
        "requirements.txt",
        """\
        six
        numpy=1.26
        --no-index
        --unknown=thing
        -r
        -r https://h.example/more.txt
        ./gone
        -e gone
        --index-url "https://h.example
        six --global-option=x
        six @ nowhere
        -f wheels six
        a b
        """,
    ) == [f"requirements.txt:{number}" for number in range(2, 14)]
    assert "--no-index" in wrong.findings[1].remedy


def test_files_that_include_each_other_are_refused(wrong, folder):
    (folder / "other.txt").write_text("-r requirements.txt\n")
    assert wrong("requirements.txt", "-r other.txt\n") == ["other.txt:1"]


def test_files_that_double_with_each_step_are_read_once(read, folder):
    for number in range(1, 18):
        (folder / f"{number}.txt").write_text(f"-r {number + 1}.txt\n" * 2)
    (folder / "18.txt").write_text("six\n")
    specification, _ = read("requirements.txt", "-r 1.txt\n-r 1.txt\n")
    assert [requirement.name for requirement in specification.pip] == ["six"]


# --- pyproject.toml -----------------------------------------------------------------------------


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


# --- All of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conda-lock.yml", "setup.py", "model", "environment.json"])
def test_a_name_that_does_not_tell_what_it_is_is_refused(wrong, name):
    assert wrong(name, "numpy\n") == [name]


@pytest.mark.parametrize("name", ["gone.txt", "environment-gone.yml", "pyproject.toml", "a\0b.txt"])
def test_a_file_that_is_not_there_is_refused(folder, name):
    with pytest.raises(ImagesmithError, match="cannot be read"):
        read_specification(folder / name)


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
def test_credentials_are_in_no_finding(wrong, name, text):
    wrong(name, text)
    assert "secret" not in json.dumps([finding.as_dict() for finding in wrong.findings])


ALPHABET = st.sampled_from(
    [*"-–#\\\n\t \"'[]{}<>=!~;:,@$&*|/.?%\0\x85", "\ud800", "é", "numpy", "1.0", "python", "pip"]
    + ["- ", "-r ", "-e ", "-c a.txt", "--hash=", "dependencies:", "channels:", "\n- ", "\n  - "]
    + ["[project]\n", "dependencies = ", "https://", "git+", "::", "==", "${HOME}", "any.txt"]
)
TEXTS = st.lists(ALPHABET, max_size=30).map(
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
def test_no_file_makes_reading_fail_but_by_findings(folder, name, data, headed):
    (folder / name).write_bytes(HEADS[name] * headed + data)
    try:
        specification, findings = read_specification(folder / name)
        json.dumps(specification.public, ensure_ascii=False).encode()
    except ImagesmithError as stopped:
        findings = stopped.findings
        assert stopped.exit_code is ExitCode.USAGE
    for finding in findings:
        assert (finding.subject + finding.message + finding.remedy).isprintable()
