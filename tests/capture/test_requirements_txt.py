"""requirements.txt as pip reads it; what a lock cannot take is told by its line."""

from imagesmith.findings import Severity


def test_requirements_are_read_with_comments_and_continued_lines(read):
    specification, findings = read(
        "requirements.txt",
        """\
        # what the model needs
        NumPy >= 1.20, < 2  # not 2
        scikit-learn[alldeps]==1.3.* ; \\
            python_version >= "3.9"

        six; sys_platform\t== 'win32'\t# tabs
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


def test_requirements_from_elsewhere_say_of_which_kind_they_are(read, tmp_path):
    (tmp_path / "local").mkdir()
    (tmp_path / "thing-1.0-py3-none-any.whl").touch()
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
    assert specification.pip[4].line == f'{tmp_path}/local[extra] ; python_version > "3.8"'


def test_options_say_where_packages_come_from(read, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    (tmp_path / "limits.txt").write_text("numpy<2\n")
    (tmp_path / "wheels").mkdir()
    specification, findings = read(
        "requirements.txt",
        """\
        --index-url https://me:${TOKEN}@h.example/simple
        --extra-index-url=https://more.example/simple --extra-index-url https://x.example/${unset}
        -f wheels
        -c limits.txt
        """,
    )
    assert not findings
    assert specification.index_url == "https://me:secret@h.example/simple"
    assert specification.extra_index_urls == (
        "https://more.example/simple",
        "https://x.example/${unset}",
    )
    assert specification.find_links == (str(tmp_path / "wheels"),)
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


def test_every_fault_of_a_requirements_file_is_told_at_once(refused):
    findings = refused(
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
        -f wheels
        -i me:secret@h.example/simple
        -e . six
        a b
        """,
    )
    assert [f.subject for f in findings] == [f"requirements.txt:{n}" for n in range(2, 16)]
    assert "--no-index" in findings[1].remedy
    assert not any("secret" in finding.message for finding in findings)


def test_files_that_include_each_other_are_refused(wrong, tmp_path):
    (tmp_path / "other.txt").write_text("-r requirements.txt\n")
    assert wrong("requirements.txt", "-r other.txt\n") == ["other.txt:1"]


def test_files_that_double_with_each_step_are_read_once(read, tmp_path):
    for number in range(1, 18):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n" * 2)
    (tmp_path / "18.txt").write_text("six\n")
    specification, _ = read("requirements.txt", "-r 1.txt\n-r 1.txt\n")
    assert [requirement.name for requirement in specification.pip] == ["six"]
