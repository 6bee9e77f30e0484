"""What compiled files ask of the loader, read from files that may be anything."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core import _multiarray_umath
from numpy.linalg import lapack_lite

from imagesmith.image.elf import ElfError, read

MODULE = Path(_multiarray_umath.__file__).read_bytes()
SMALL = Path(lapack_lite.__file__).read_bytes()


def test_an_extension_module_says_what_it_needs():
    elf = read(MODULE)
    assert {"libstdc++.so.6", "libm.so.6", "libc.so.6"} <= {*elf.needed}
    assert elf.is_module
    assert (2, 17) <= elf.glibc < (3, 0)


@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf to compare with")
@pytest.mark.parametrize("path", [_multiarray_umath.__file__, sys.executable])
def test_readelf_sees_the_same(path):
    printed = subprocess.run(["readelf", "-dV", path], capture_output=True, text=True, check=True)
    lines = printed.stdout.splitlines()
    needed = [line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line]
    elf = read(Path(path).read_bytes())
    assert [*elf.needed] == needed
    assert f"GLIBC_{elf.glibc[0]}.{elf.glibc[1]}" in printed.stdout


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"#!/bin/sh\n", MODULE[:5000], b"\x7fELF\x01" + MODULE[5:]]
)
def test_what_is_none_is_said_to_be_none(data):
    with pytest.raises(ElfError):
        read(data)


@settings(deadline=None)
@given(st.binary(max_size=64), st.integers(min_value=0, max_value=4096))
def test_no_bytes_make_it_raise_anything_but_its_own_error(junk, place):
    data = SMALL[:place] + junk + SMALL[place + len(junk) :]
    with contextlib.suppress(ElfError):
        read(data)


@settings(deadline=None)
@given(st.integers(min_value=0), st.binary(min_size=1, max_size=16))
def test_nor_do_bytes_in_the_dynamic_section(place, junk):
    """Where that is says the file itself, so that what is changed is what is read."""
    from imagesmith.image import elf

    (dynamic,) = (s for s in elf._segments(SMALL) if s[0] == 2)
    at = dynamic[1] + place % dynamic[3]
    with contextlib.suppress(ElfError):
        read(SMALL[:at] + junk + SMALL[at + len(junk) :])
