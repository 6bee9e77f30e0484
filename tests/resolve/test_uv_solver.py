"""uv's failures, each told as what it is, and what of the user's world reaches uv."""

from __future__ import annotations

import pytest
from local_index import local_index, make_wheel

from imagesmith.findings import ImagesmithError
from imagesmith.resolve import (
    pylock,
)
from imagesmith.resolve.indexes import Indexes
from imagesmith.resolve.platform import Target
from imagesmith.resolve.solver import Question
from imagesmith.resolve.uv import UvSolver
from imagesmith.resolve.uv_errors import explain

TARGET = Target("3.11", "2.36")


def ask(index, *requirements, preferences=()) -> Question:
    return Question(requirements, preferences, TARGET, Indexes(index.url))


def locked(answer: bytes) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in pylock.parse(answer, TARGET).wheels}


def failure(index, *requirements):
    with pytest.raises(ImagesmithError) as stopped:
        UvSolver().solve(ask(index, *requirements))
    (finding,) = stopped.value.findings
    return finding


def test_what_is_required_is_locked_with_what_it_requires(any_index):
    any_index.wheel("alpha", "1.0", requires=["beta>=1", "appnope; sys_platform == 'darwin'"])
    any_index.wheel("beta", "1.0")
    any_index.wheel("beta", "2.0")
    answer = UvSolver().solve(ask(any_index, "alpha==1.0"))
    assert locked(answer) == {"alpha": "1.0", "beta": "2.0"}


def test_a_preference_is_taken_where_it_fits(index):
    index.wheel("alpha", "1.0", requires=["beta>=2", "gamma"])
    for version in ("1.0", "2.0", "3.0"):
        index.wheel("beta", version)
        index.wheel("gamma", version)
    likes = ("beta==1.0", "gamma==1.0", "unrelated==9.9")
    answer = UvSolver().solve(ask(index, "alpha", preferences=likes))
    assert locked(answer) == {"alpha": "1.0", "beta": "3.0", "gamma": "1.0"}


def test_a_preference_whose_wheel_is_for_other_systems_gives_way(index):
    index.wheel("beta", "1.0", "cp311-cp311-macosx_11_0_arm64")
    index.wheel("beta", "2.0")
    answer = UvSolver().solve(ask(index, "beta", preferences=("beta==1.0",)))
    assert locked(answer) == {"beta": "2.0"}


def test_the_users_own_settings_do_not_change_the_answer(index, tmp_path):
    index.wheel("beta", "1.0")
    index.wheel("beta", "2.0")
    (tmp_path / "constraints.txt").write_text("beta==1.0\n")
    (tmp_path / "home/.config/uv").mkdir(parents=True)
    (tmp_path / "home/.config/uv/uv.toml").write_text('resolution = "lowest"\n')
    settings = {
        "UV_CONSTRAINT": str(tmp_path / "constraints.txt"),
        "UV_RESOLUTION": "lowest",
        "UV_EXCLUDE_NEWER": "2001-01-01T00:00:00Z",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        assert locked(UvSolver().solve(ask(index, "beta"))) == {"beta": "2.0"}


def test_several_indexes_are_one_as_they_are_for_pip(index, tmp_path):
    index.wheel("beta", "2.0")
    links = tmp_path / "links"
    make_wheel(links, "gamma", "1.0+local")
    with local_index(tmp_path / "others") as other:
        other.wheel("beta", "1.0")
        indexes = Indexes(index.url, (other.url,), (links.as_uri(),))
        question = Question(("beta==2.0", "gamma==1.0+local"), (), TARGET, indexes)
        assert locked(UvSolver().solve(question)) == {"beta": "2.0", "gamma": "1.0+local"}


def test_a_package_that_no_index_has_is_missing(any_index):
    finding = failure(any_index, "nosuch==1.0")
    assert (finding.code, finding.subject) == ("missing.package", "nosuch")


def test_a_version_that_no_index_has_is_missing(any_index):
    any_index.wheel("alpha", "1.0")
    finding = failure(any_index, "alpha==9.0")
    assert (finding.code, finding.subject) == ("missing.version", "alpha==9.0")


def test_wheels_for_other_systems_are_named(any_index):
    any_index.wheel("alpha", "1.0", "cp311-cp311-macosx_11_0_arm64")
    any_index.wheel("alpha", "1.0", "cp311-cp311-win_amd64")
    finding = failure(any_index, "alpha==1.0")
    assert (finding.code, finding.subject) == ("missing.wheel", "alpha==1.0")
    assert "macosx_11_0_arm64, win_amd64" in finding.message


def test_wheels_for_another_python_are_named(index):
    index.wheel("alpha", "1.0", "cp310-cp310-manylinux_2_17_x86_64")
    finding = failure(index, "alpha==1.0")
    assert finding.code == "missing.wheel"
    assert "cp310" in finding.message


def test_a_wheel_for_a_newer_glibc_does_not_count(index):
    index.wheel("alpha", "1.0", "cp311-cp311-manylinux_2_39_x86_64")
    finding = failure(index, "alpha==1.0")
    assert finding.code == "missing.wheel"
    assert "glibc 2.36" in finding.message
    assert "manylinux_2_39_x86_64" in finding.message


def test_a_package_of_source_only_is_missing(any_index):
    any_index.sdist("alpha", "1.0")
    finding = failure(any_index, "alpha==1.0")
    assert (finding.code, finding.subject) == ("missing.wheel", "alpha==1.0")
    assert "source" in finding.message


def test_a_requirement_of_a_requirement_is_named_with_who_wants_it(index):
    index.wheel("alpha", "1.0", requires=["nosuch>=3"])
    finding = failure(index, "alpha==1.0")
    assert (finding.code, finding.subject) == ("missing.package", "nosuch")
    assert "alpha" in finding.message


def test_a_conflict_is_told_with_uvs_own_explanation(index):
    index.wheel("beta", "1.0")
    index.wheel("beta", "2.0")
    index.wheel("alpha", "1.0", requires=["beta<2"])
    index.wheel("gamma", "1.0", requires=["beta>=2"])
    finding = failure(index, "alpha==1.0", "gamma==1.0")
    assert finding.code == "unsatisfiable.conflict"
    for word in ("alpha", "gamma", "beta<2", "beta>=2"):
        assert word in finding.message
    assert "\n" not in finding.message


@pytest.mark.parametrize("fault", ["500", "binary", "html"])
def test_an_index_that_answers_something_else_is_out_of_reach(index, hermetic, fault):
    hermetic.setenv("UV_HTTP_RETRIES", "0")
    index.wheel("alpha", "1.0")
    index.faults["alpha"] = fault
    assert failure(index, "alpha").code == "reach.index"


def test_an_index_that_hangs_is_out_of_reach(index, hermetic):
    hermetic.setenv("UV_HTTP_RETRIES", "0")
    hermetic.setenv("UV_HTTP_TIMEOUT", "1")
    index.faults["alpha"] = "hang"
    finding = failure(index, "alpha==1.0")
    assert finding.code == "reach.index"
    assert finding.subject == f"{index.url}/alpha/"
    assert "timed out" in finding.message


def test_an_index_where_nobody_listens_is_out_of_reach(index, hermetic):
    hermetic.setenv("UV_HTTP_RETRIES", "0")
    index.netloc = "127.0.0.1:1"
    finding = failure(index, "alpha==1.0")
    assert finding.code == "reach.index"
    assert "refused" in finding.message


def test_a_folder_of_wheels_that_is_not_there_is_told(hermetic, tmp_path):
    links = Indexes(find_links=((tmp_path / "nowhere").as_uri(),))
    with pytest.raises(ImagesmithError) as stopped:
        UvSolver().solve(Question(("alpha",), (), TARGET, links))
    (finding,) = stopped.value.findings
    assert finding.code == "reach.index"
    assert "nowhere" in finding.subject


def test_a_refused_login_is_told_as_one(index):
    index.password = ("me", "s3cret")
    finding = failure(index, "alpha==1.0")
    assert finding.code == "reach.index"
    assert "login" in finding.message


def test_a_certificate_that_is_not_trusted_is_told_with_its_mend():
    finding = explain(
        "error: Failed to fetch: https://h.example/simple/numpy/\n"
        "  cause: error sending request for url (https://me:s3cret@h.example/simple/numpy/)\n"
        "  cause: client error (Connect)\n"
        "  cause: invalid peer certificate: UnknownIssuer\n\n"
        "hint: Consider enabling use of system TLS certificates\n",
        TARGET,
    )
    assert finding.code == "reach.index"
    assert finding.subject == "https://h.example/simple/numpy/"
    assert finding.message.endswith("invalid peer certificate: UnknownIssuer")
    assert "SSL_CERT_FILE" in finding.remedy


def test_a_failure_of_uv_that_is_none_of_these_is_told_in_its_own_words():
    finding = explain("error: something\n  cause: https://me:s3cret@h.example/ broke\n", TARGET)
    assert finding.code == "unsatisfiable.solver"
    assert "something cause: https://h.example/ broke" in finding.message
