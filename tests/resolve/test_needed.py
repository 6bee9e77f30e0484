"""What an image needs: pins for what the function uses, preferences for what that brings along."""

from __future__ import annotations

import pytest

from imagesmith.findings import Severity
from imagesmith.resolve.indexes import Indexes
from imagesmith.resolve.needed import Wanted, Wish
from imagesmith.resolve.needed import needs as needs_of
from imagesmith.resolve.platform import Target

TARGET = Target("3.11", "2.36")
PUBLIC = Indexes()
RUNTIME = ("cloudpickle==3.1.2", "numpy", "prometheus-client", "pyzmq")


def needs(captured, target, indexes, wish=None):
    wanted = Wanted(captured.environment, captured.modules, captured.cloudpickle)
    return needs_of(wanted, target, indexes, wish or Wish())


def test_what_the_function_uses_is_pinned_to_the_captured_version(capture, distribution):
    sklearn = distribution("scikit-learn", "1.5.0", modules=["sklearn"])
    needed = needs(capture(sklearn, modules=["sklearn"]), TARGET, PUBLIC)
    assert needed.requirements == (*RUNTIME, "scikit-learn==1.5.0")


def test_what_is_only_brought_along_is_preferred_not_pinned(capture, distribution):
    alpha = distribution("alpha", requires=["beta>=1"])
    beta = distribution("beta", "1.5", requires=["gamma"])
    needed = needs(
        capture(alpha, beta, distribution("gamma", "7"), modules=["alpha"]), TARGET, PUBLIC
    )
    assert needed.requirements == ("alpha==1.0", *RUNTIME)
    assert {"beta==1.5", "gamma==7"} <= set(needed.preferences)


def test_what_nothing_needs_is_left_out(capture, distribution):
    needed = needs(
        capture(distribution("alpha"), distribution("pytest"), modules=["alpha"]), TARGET, PUBLIC
    )
    assert not any("pytest" in line for line in needed.requirements + needed.preferences)


def test_what_only_the_platform_of_the_capture_needs_is_left_out(capture, distribution):
    alpha = distribution("alpha", requires=["appnope; sys_platform == 'darwin'", "beta"])
    needed = needs(
        capture(alpha, distribution("appnope"), distribution("beta"), modules=["alpha"]),
        TARGET,
        PUBLIC,
    )
    assert "beta==1.0" in needed.preferences
    assert "appnope==1.0" not in needed.preferences


def test_extras_are_followed_only_where_they_are_asked_for(capture, distribution):
    alpha = distribution("alpha", requires=["beta[fast]", "test-only; extra == 'test'"])
    beta = distribution("beta", requires=["quick; extra == 'fast'"])
    others = [distribution("quick"), distribution("test-only")]
    needed = needs(capture(alpha, beta, *others, modules=["alpha"]), TARGET, PUBLIC)
    assert "quick==1.0" in needed.preferences
    assert "test-only==1.0" not in needed.preferences


def test_cloudpickle_is_that_of_the_capture_whatever_is_installed(capture, distribution):
    installed = distribution("cloudpickle", "2.2.1")
    needed = needs(capture(installed, modules=["cloudpickle"], cloudpickle="3.0.0"), TARGET, PUBLIC)
    assert needed.requirements == ("cloudpickle==3.0.0", *RUNTIME[1:])


def test_the_runtime_takes_the_captured_numpy_if_there_is_one(capture, distribution):
    needed = needs(capture(distribution("numpy", "1.26.4")), TARGET, PUBLIC)
    assert "numpy" in needed.requirements
    assert "numpy==1.26.4" in needed.preferences


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.11", "3.13"])
def test_the_runtime_has_tested_versions_where_the_capture_has_none(capture, python):
    needed = needs(capture(python=f"{python}.1"), Target(python, "2.36"), PUBLIC)
    assert {line.partition("==")[0] for line in needed.preferences} == {
        "numpy",
        "prometheus-client",
        "pyzmq",
    }


def test_a_version_that_no_index_can_have_is_no_preference(capture, distribution):
    alpha = distribution("alpha", requires=["beta"])
    beta = distribution("beta", "0.1-custom_build")
    needed = needs(capture(alpha, beta, modules=["alpha"]), TARGET, PUBLIC)
    assert not any("beta" in line for line in needed.preferences)


def test_a_module_that_nothing_provides_is_told(capture):
    (finding,) = needs(capture(modules=["handmade"]), TARGET, PUBLIC).findings
    assert (finding.code, finding.severity) == ("missing.module", Severity.WARNING)
    assert finding.subject == "handmade"


def test_everything_that_no_index_can_give_is_told_at_once(capture, distribution):
    captured = capture(
        distribution("mine", editable=True, direct_url="file:///home/me/mine"),
        distribution("forked", direct_url="https://example.org/forked.git"),
        distribution("torch", "2.5.0+cpu"),
        distribution("fine", requires=["inner"]),
        distribution("inner", editable=True),
        distribution("unneeded", editable=True),
        modules=["mine", "forked", "torch", "fine"],
    )
    needed = needs(captured, TARGET, PUBLIC)
    assert {f.code for f in needed.findings} == {"missing.not-on-index"}
    assert sorted(f.subject for f in needed.findings) == ["inner==1.0", "torch==2.5.0+cpu"]


def test_of_folders_and_repositories_a_wheel_is_to_be_made(capture, distribution):
    captured = capture(
        distribution("mine", editable=True, direct_url="file:///home/me/mine"),
        distribution("forked", direct_url="git+https://example.org/forked.git@c0ffee"),
        distribution("unneeded", editable=True, direct_url="file:///home/me/unneeded"),
        modules=["mine", "forked"],
    )
    origins = needs(captured, TARGET, PUBLIC).origins
    assert [(o.name, o.version, o.reference) for o in origins] == [
        ("forked", "1.0", "git+https://example.org/forked.git@c0ffee"),
        ("mine", "1.0", "file:///home/me/mine"),
    ]


def test_a_local_version_may_be_on_an_index_of_the_users_own(capture, distribution):
    captured = capture(distribution("torch", "2.5.0+cpu"), modules=["torch"])
    own = Indexes(extra=("https://wheels.example.org/cpu",))
    assert needs(captured, TARGET, own).findings == ()


def test_where_conda_built_a_package_does_not_matter(capture, distribution):
    built = distribution("alpha", direct_url="file:///croot/alpha", installer="conda")
    assert needs(capture(built, modules=["alpha"]), TARGET, PUBLIC).findings == ()


@pytest.mark.parametrize(("name", "version"), [("alpha", "unknown"), ("al pha", "1"), ("ä", "1")])
def test_what_no_standard_allows_is_on_no_index(capture, distribution, name, version):
    captured = capture(distribution(name, version, modules=["alpha"]), modules=["alpha"])
    (finding,) = needs(captured, TARGET, PUBLIC).findings
    assert (finding.code, finding.subject) == ("missing.not-on-index", f"{name}=={version}")
