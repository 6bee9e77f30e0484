"""environment.yml as conda writes it, and as people do: what is wrong is told by its line."""

import pytest

from imagesmith.findings import Severity

FORGE = "https://conda.anaconda.org/conda-forge"
MAIN = "https://repo.anaconda.com/pkgs/main"
R = "https://repo.anaconda.com/pkgs/r"


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


def test_a_spec_may_name_its_channel(read, tmp_path):
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
        ((tmp_path / "here").as_uri(),),
    ]
    assert [spec.subdir for spec in specification.conda][1:3] == ["osx-arm64"] * 2
    assert specification.channels == ("https://conda.anaconda.org/bioconda",)


def test_without_channels_those_of_the_user_count(read, home):
    assert read("environment.yml", "dependencies: [python]")[0].channels == (MAIN, R)
    (home / ".condarc").write_text("channels: [conda-forge]\n")
    assert read("environment.yml", "dependencies: [python]")[0].channels == (FORGE,)
    mixed = "channels: [nodefaults, lab]\ndependencies: [python]"
    assert read("environment.yml", mixed)[0].channels == ("https://conda.anaconda.org/lab",)


def test_requirements_files_are_included_from_where_the_file_lies(read, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/base.txt").write_text("six\n-r ../rest.txt\n")
    (tmp_path / "rest.txt").write_text("mine @ https://h.example/mine.whl\n")
    (tmp_path / "setup.py").touch()
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
    assert specification.pip[0].where == f"{tmp_path}/more/base.txt:1"
    assert specification.pip[2].line == str(tmp_path)
    assert specification.extra_index_urls == ("https://h.example/simple",)


def test_every_fault_of_an_environment_file_is_told_at_once(wrong):
    places = wrong(
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
    )
    lines = sorted(int(place.rpartition(":")[2]) for place in places)
    assert lines == [2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15]


def test_a_colon_in_place_of_an_equals_sign_gets_the_line_to_write(refused):
    (finding,) = refused("environment.yml", "dependencies:\n- python: 3.10\n")
    assert finding.remedy == "write it as python=3.10"


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
