"""The same members give the same bytes, and no member leads out of the image."""

import io
import tarfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.image.tar import (
    Deflated,
    Kind,
    Member,
    contents,
    file_member,
    folder_member,
    link_member,
    tar_pieces,
    write_tar,
)

NAMES = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,3}", fullmatch=True)


def written(members) -> bytes:
    out = io.BytesIO()
    write_tar(members, out)
    return out.getvalue()


def read(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


MEGABYTE = 1 << 20


# What deflates well says megabytes in some bytes: as many as are asked for at a time, and one more.
@given(
    size=st.integers(0, 3 * MEGABYTE)
    | st.integers(-9, 9).map(MEGABYTE.__add__)
    | st.integers(-9, 9).map((2 * MEGABYTE).__add__),
    pattern=st.binary(min_size=1, max_size=40),
)
def test_what_is_deflated_is_read_to_its_end(tmp_path_factory, size, pattern):
    data = (pattern * (size // len(pattern) + 1))[:size]
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    file = tmp_path_factory.getbasetemp() / "archive"
    file.write_bytes(b"before" + packed + b"after")
    deflated = Deflated(file, len(b"before"), len(packed), zlib.crc32(data))
    member = Member("x", Kind.FILE, size=size, deflated=deflated)
    assert b"".join(contents(member)) == data


def test_the_order_of_the_members_does_not_matter():
    members = [file_member("b/x", b"1"), file_member("a", b"2"), link_member("b/y", "x")]
    assert written(members) == written(reversed(members))


def test_owners_and_times_are_zero_and_parents_have_entries():
    infos = read(written([file_member("opt/env/x", b"1", 0o755)]))
    assert [(i.name, i.mode) for i in infos] == [
        ("opt", 0o755),
        ("opt/env", 0o755),
        ("opt/env/x", 0o755),
    ]
    assert {(i.uid, i.gid, i.mtime, i.uname, i.gname) for i in infos} == {(0, 0, 0, "", "")}


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\nb", "a\0b"]
)
def test_a_path_that_could_leave_the_image_is_refused(path):
    with pytest.raises(ValueError, match="not a path"):
        file_member(path, b"")


def test_two_members_of_one_path_are_refused():
    with pytest.raises(ValueError, match="share the path"):
        written([file_member("a", b"1"), file_member("a", b"2")])


@pytest.mark.parametrize("parent", [file_member("a", b""), link_member("a", "/etc")])
def test_a_parent_that_is_no_folder_is_refused(parent):
    with pytest.raises(ValueError, match="'a'"):
        written([parent, file_member("a/b", b"")])


@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=8))
def test_what_goes_in_comes_out(files):
    paths = set(files)
    if any(a != b and b.startswith(a + "/") for a in paths for b in paths):
        return
    data = written([file_member(path, content) for path, content in files.items()])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {i.name: tar.extractfile(i).read() for i in tar if i.isfile()}
    assert found == files


PATHS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1)


@given(
    path=st.one_of(PATHS, PATHS.map(lambda text: text * 40)),
    target=st.one_of(st.text("ab/é.", max_size=120), PATHS),
    mode=st.integers(0, 0o7777),
    size=st.one_of(st.integers(0, 1 << 40), st.just(0o77777777777)),
    kind=st.sampled_from(Kind),
)
def test_a_header_is_what_tarfile_would_write(path, target, mode, size, kind):
    try:
        member = Member(path, kind, mode, size, target=target)
    except ValueError:
        return
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.size, info.linkname = kind.value, mode, size, target
    expected = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    assert next(tar_pieces([member])) == expected


def test_long_and_foreign_names_survive():
    path = "/".join(["folder" * 10] * 4) + "/naïve.py"
    assert path in [info.name for info in read(written([file_member(path, b"")]))]


def test_a_folder_keeps_its_own_mode():
    (info,) = read(written([folder_member("tmp", 0o1777)]))
    assert info.mode == 0o1777
