"""Source archives: what is read of them, and what no archive gets anybody to do."""

import io
import stat
import tarfile
import zipfile

import pytest
from source_archives import tarred

from imagesmith.wheels import archive
from imagesmith.wheels.archive import opened


@pytest.fixture
def read(tmp_path):
    """Give a function that reads an archive's tree into a dict: bytes by path, links as text."""

    def read(data, filename="thing-1.0.tar.gz"):
        path = tmp_path / "blob"
        path.write_bytes(data)
        with opened(path, filename) as tree:
            packed = tree.tar()
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            return {
                member.name: member.linkname if member.issym() else tar.extractfile(member).read()
                for member in tar
                if not member.isdir()
            }

    return read


def tar_of(*members, mode="w:gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name, kind=tarfile.REGTYPE, linkname="", data=b""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info, data


def zip_of(entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for entry, data in entries.items():
            made.writestr(entry, data)
    return out.getvalue()


FILES = {"setup.py": b"x", "pkg/data.bin": b"\x00\xff"}


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_a_tar_is_read_without_its_one_folder(read, mode):
    members = (member(f"thing-1.0/{path}", data=data) for path, data in FILES.items())
    assert read(tar_of(*members, mode=f"w:{mode}"), f"thing-1.0.tar.{mode}") == FILES


def test_a_zip_is_read_without_its_one_folder(read):
    data = zip_of({"thing-1.0/": b"", **{f"thing-1.0/{p}": d for p, d in FILES.items()}})
    assert read(data, "thing-1.0.zip") == FILES


def test_links_within_the_tree_stay_and_hard_links_become_files(read):
    data = tar_of(
        member("t/a", data=b"a"),
        member("t/pkg/b", tarfile.SYMTYPE, "../a"),
        member("t/pkg/c", tarfile.LNKTYPE, "t/a"),
    )
    assert read(data) == {"a": b"a", "pkg/b": "../a", "pkg/c": b"a"}


def test_times_owners_and_order_do_not_count(tmp_path):
    trees = set()
    for number, names in enumerate((("a", "b"), ("b", "a"))):
        infos = [member(f"t/{name}", data=b"x") for name in names]
        for info, _ in infos:
            info.mtime, info.uid, info.mode = number, number, 0o600 + number
        path = tmp_path / str(number)
        path.write_bytes(tar_of(*infos))
        with opened(path, "t.tar.gz") as tree:
            trees.add(tree.tar())
    assert len(trees) == 1


HOSTILE = {
    "a path that climbs": [member("t/../../etc/passwd")],
    "an absolute path": [member("/etc/passwd")],
    "an absolute link": [member("t/a"), member("t/x", tarfile.SYMTYPE, "/etc")],
    "a link that climbs": [member("t/a"), member("t/d/x", tarfile.SYMTYPE, "../../..")],
    "a file through a link": [member("t/x", tarfile.SYMTYPE, "d"), member("t/x/y")],
    "a hard link to the host": [member("t/a"), member("t/x", tarfile.LNKTYPE, "/etc/passwd")],
    "a device": [member("t/x", tarfile.CHRTYPE)],
    "a pipe": [member("t/x", tarfile.FIFOTYPE)],
    "a control character": [member("t/\x1b[2J")],
    "two folders": [member("t/a"), member("u/a")],
    "a file beside the folder": [member("t/a"), member("b")],
    "nothing": [],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_build_starts_from_an_archive_with(members, read):
    with pytest.raises(ValueError, match=r"."):
        read(tar_of(*members))


def test_an_archive_of_too_many_files_is_refused(read, monkeypatch):
    monkeypatch.setattr(archive, "_MOST", 10)
    with pytest.raises(ValueError, match="files"):
        read(tarred({f"f{n}": b"" for n in range(11)}))


def test_a_bomb_is_refused_before_it_fills_the_disk(read, monkeypatch):
    monkeypatch.setattr(archive, "_LARGEST", 1 << 20)
    monkeypatch.setattr(archive, "_MOST", 10)
    with pytest.raises(ValueError, match="MiB"):
        read(tarred({"zeros": bytes(64 << 20)}))
    with pytest.raises(ValueError, match="MiB"):
        read(zip_of({"t/zeros": bytes(64 << 20)}), "t-1.zip")


@pytest.mark.parametrize("cut", [10, 100, -20])
def test_a_truncated_archive_is_refused(read, cut):
    with pytest.raises(ValueError, match="damaged"):
        read(tarred({f"f{n}": str(n) * 1000 for n in range(50)})[:cut])


def test_a_zip_with_a_link_or_an_encrypted_file_is_refused(read):
    link = zipfile.ZipInfo("t/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ValueError, match="neither a file"):
        read(zip_of({link: b"/etc"}), "t-1.zip")
    locked = bytearray(zip_of({"t/a": b"a"}))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ValueError, match="encrypted"):
        read(bytes(locked), "t-1.zip")


def test_what_is_no_archive_is_refused(read):
    for name in ("t-1.tar.gz", "t-1.zip", "t-1.whl"):
        with pytest.raises(ValueError, match=r"."):
            read(b"neither", name)
