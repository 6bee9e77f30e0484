"""The target: which wheels run on linux-64 with a given Python and glibc."""

from __future__ import annotations

import pytest

from imagesmith.resolve.platform import Target

TARGET = Target("3.11", "2.36")


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any",
        "py2.py3-none-any",
        "py311-none-any",
        "cp311-cp311-linux_x86_64",
        "cp311-cp311-manylinux_2_36_x86_64",
        "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp38-abi3-manylinux1_x86_64",
        "cp311-none-any",
    ],
)
def test_a_wheel_for_the_target_fits(tag):
    assert TARGET.rank(f"alpha-1.0-{tag}.whl") is not None


@pytest.mark.parametrize(
    "tag",
    [
        "cp311-cp311-manylinux_2_37_x86_64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp311-cp311-manylinux_2_17_aarch64",
        "cp311-cp311-macosx_11_0_arm64",
        "cp310-cp310-manylinux_2_17_x86_64",
        "cp312-abi3-manylinux_2_17_x86_64",
        "cp311-cp311d-manylinux_2_17_x86_64",
        "py2-none-any",
        "pp311-pypy311_pp73-manylinux_2_17_x86_64",
    ],
)
def test_a_wheel_for_anything_else_does_not(tag):
    assert TARGET.rank(f"alpha-1.0-{tag}.whl") is None


def test_the_more_special_wheel_fits_better():
    native = TARGET.rank("alpha-1.0-cp311-cp311-manylinux_2_28_x86_64.whl")
    stable = TARGET.rank("alpha-1.0-cp39-abi3-manylinux_2_28_x86_64.whl")
    pure = TARGET.rank("alpha-1.0-py3-none-any.whl")
    assert native < stable < pure


def test_what_is_no_wheel_does_not_fit():
    assert TARGET.rank("alpha-1.0.tar.gz") is None


@pytest.mark.parametrize(
    ("glibc", "level"),
    [("2.17", "2_17"), ("2.31", "2_31"), ("2.36", "2_36"), ("2.30", "2_28"), ("2.41", "2_40")],
)
def test_uv_is_given_an_exact_level_that_the_glibc_has(glibc, level):
    assert Target("3.11", glibc).uv_platform == f"x86_64-manylinux_{level}"
