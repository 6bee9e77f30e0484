"""A pack's archive: whole, or refused with all that is wrong, before anything of it is used."""

import hashlib
import io
import json
import tarfile

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imagesmith.findings import ImagesmithError
from imagesmith.pack.archive import is_pack, proved
from imagesmith.pack.read import unpacked
from imagesmith.store import Store

ABOUT = {
    "format": 1,
    "imagesmith": "0.1.0",
    "reference": "m:1",
    "digest": "sha256:" + "0" * 64,
    "created": "1970-01-01T00:00:00Z",
    "base": "closure-base:3.11@sha256:" + "0" * 64,
}
FILES = {"bundle/func.pkl": b"model" * 300, "blobs/sha256/00": b"wheel", "index.json": b"{}"}


def member(path, kind=tarfile.REGTYPE, data=b"", target=""):
    info = tarfile.TarInfo(path)
    info.type, info.size, info.linkname = kind, len(data), target
    return info, data


def sums(files):
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in files.items())


def written(*more, files=FILES, about=ABOUT, lines=None):
    """Give the bytes of a pack, with ``more`` members at its end."""
    texts = {"pack.json": json.dumps(about).encode(), **files}
    listed = sums(texts) if lines is None else lines
    first = [member("pack.json", data=texts["pack.json"])]
    first.append(member("SHA256SUMS", data=listed.encode()))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in [*first, *(member(p, data=d) for p, d in files.items()), *more]:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def pack(tmp_path):
    """Give a function that writes bytes as a pack's file."""

    def write(data):
        (tmp_path / "m.pack").write_bytes(data)
        return tmp_path / "m.pack"

    return write


def refused(file):
    """Give what is wrong with a pack."""
    with pytest.raises(ImagesmithError) as stopped, proved(file):
        pass
    assert stopped.value.exit_code == 6
    assert {finding.code for finding in stopped.value.findings} == {"build.pack"}
    return [finding.message for finding in stopped.value.findings]


def test_what_is_whole_is_given_as_it_is(pack):
    with proved(pack(written())) as archive:
        assert {path: archive.text(path) for path in FILES} == FILES
        assert archive.about == ABOUT


def test_a_pack_is_known_by_its_content(pack, tmp_path):
    assert is_pack(pack(written()))
    (tmp_path / "other.tar").write_bytes(b"not a tar")
    for other in (tmp_path, tmp_path / "none", tmp_path / "other.tar"):
        assert not is_pack(other)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (member("../evil", data=b"x"), "may lead out"),
        (member("/etc/evil", data=b"x"), "may lead out"),
        (member("a/../../evil", data=b"x"), "may lead out"),
        (member("bundle/link", tarfile.SYMTYPE, target="/etc"), "a symbolic link"),
        (member("bundle/link", tarfile.LNKTYPE, target="index.json"), "a hard link"),
        (member("bundle/null", tarfile.CHRTYPE), "a device"),
        (member("bundle/disk", tarfile.BLKTYPE), "a device"),
        (member("bundle/pipe", tarfile.FIFOTYPE), "a pipe"),
        (member("bundle/odd", b"9"), "neither a file nor a folder"),
        (member("index.json", data=b"{}"), "twice"),
        (member("bundle/more.py", data=b"x"), "does not name it"),
    ],
)
def test_what_no_pack_may_hold_is_refused_by_name(pack, more, why):
    (told,) = refused(pack(written(more)))
    assert more[0].name in told
    assert why in told


def test_all_that_is_wrong_is_told_at_once(pack):
    changed = {**FILES, "index.json": b"{ }"}
    lines = sums({"pack.json": json.dumps(ABOUT).encode(), **FILES, "gone": b""})
    told = refused(pack(written(member("../evil"), files=changed, lines=lines)))
    assert len(told) == 3
    assert "'index.json': it is not what SHA256SUMS says" in told


def test_a_file_is_no_folder_of_others(pack):
    files = {"bundle": b"x", "bundle/func.pkl": b"y"}
    (told,) = refused(pack(written(files=files)))
    assert "lies in 'bundle', which is no folder" in told


def test_another_format_is_told_with_the_imagesmith_that_reads_it(pack):
    about = {**ABOUT, "format": 2, "imagesmith": "9.9"}
    with pytest.raises(ImagesmithError) as stopped, proved(pack(written(about=about))):
        pass
    (finding,) = stopped.value.findings
    assert "format 2" in finding.message
    assert "9.9" in finding.remedy


@pytest.mark.parametrize(
    "about", [{}, {**ABOUT, "digest": 1}, [], {k: v for k, v in ABOUT.items() if k != "base"}]
)
def test_a_pack_must_say_what_it_is_of(pack, about):
    assert refused(pack(written(about=about)))


@pytest.mark.parametrize("lines", ["nonsense\n", "0" * 64 + "  a\n" + "0" * 64 + "  a\n", "ä\n"])
def test_sums_that_are_none_are_refused(pack, lines):
    assert refused(pack(written(lines=lines)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, len(written()) - 1))
@example(cut=len(written()) - tarfile.RECORDSIZE)
def test_one_that_is_cut_short_is_refused_or_lacks_but_its_padding(pack, cut):
    file = pack(written()[:cut])
    try:
        with proved(file) as archive:
            assert {path: archive.text(path) for path in FILES} == FILES
    except ImagesmithError as stopped:
        assert {finding.code for finding in stopped.findings} == {"build.pack"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, len(written()) - 1), byte=st.integers(0, 255))
def test_one_that_was_changed_is_refused_or_says_the_same(pack, place, byte):
    data = bytearray(written())
    data[place] = byte
    try:
        with proved(pack(bytes(data))) as archive:
            assert {path: archive.text(path) for path in FILES} == FILES
    except ImagesmithError as stopped:
        assert {finding.code for finding in stopped.findings} == {"build.pack"}


def test_of_a_spoilt_pack_nothing_is_taken(pack, tmp_path):
    data = written().replace(b"wheel", b"wheal")
    store = Store(tmp_path / "store")
    with pytest.raises(ImagesmithError), unpacked(pack(data), store):
        pass
    assert not store.root.exists()


def test_one_without_a_base_leaves_nothing_but_says_so(pack, tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(ImagesmithError) as stopped, unpacked(pack(written()), store):
        pass
    assert [finding.code for finding in stopped.value.findings] == ["build.pack"]
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_what_goes_wrong_with_what_is_made_of_it_is_not_the_packs_fault(pack):
    with pytest.raises(OSError, match="full"), proved(pack(written())):
        raise OSError("full")
