"""A pack is built on a host that has nothing and reaches nobody, to the same digest."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from imagesmith.image import layout, oci

COMMAND = Path(sys.executable).with_name("imagesmith")
SUMS = ("fixtures/functions/echo.py:sums", "--name", "sums", "--version", "1")

pytestmark = [pytest.mark.root, pytest.mark.apt, pytest.mark.index]


@pytest.fixture(scope="module")
def packed(base, imagesmith, tmp_path_factory):
    """Give a pack and the image that is built where it was packed."""
    folder = tmp_path_factory.mktemp("packed")
    samples = folder / "samples.json"
    samples.write_text("[[1.0, 2.0], [3.0, 4.0]]")
    done = imagesmith("pack", *SUMS, "--samples", samples, "-o", folder / "sums.pack")
    assert (done.returncode, done.stdout) == (0, f"{folder}/sums.pack\n"), done.stderr
    done = imagesmith("build", *SUMS, "--samples", samples, "--output", f"oci:{folder}/image")
    assert done.returncode == 0, done.stderr
    return folder / "sums.pack", done.stdout


@pytest.fixture
def offline(tmp_path):
    """Give a function that runs a command without a network interface, on a store of its own."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace of its own needs root")

    def run(*arguments):
        return subprocess.run(
            ["unshare", "--net", COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "IMAGESMITH_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_same_image_gives_the_same_pack(packed, imagesmith, tmp_path):
    file, _ = packed
    samples, again = file.parent / "samples.json", tmp_path / "again.pack"
    done = imagesmith("pack", *SUMS, "--samples", samples, "-o", again)
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == file.read_bytes()


def test_without_a_network_it_gives_the_same_digest_and_answers(packed, offline, tmp_path):
    file, reference = packed
    done = offline("build", file, "--output", f"oci:{tmp_path}/out")
    assert (done.returncode, done.stdout) == (0, reference), done.stderr
    assert "4 answers, 4 as the function's own" in done.stderr
    again = offline("build", file, "--output", f"oci:{tmp_path}/out")
    assert (again.returncode, again.stdout) == (0, reference), again.stderr
    assert "none of them new" in again.stderr

    # Nothing of it has a name that another build would find, and no more is kept than is used.
    assert not (tmp_path / "cache" / "index.json").exists()
    assert [path for path in (tmp_path / "cache").rglob("*") if ".partial-" in path.name] == []


@pytest.mark.long
def test_under_another_name_it_is_another_image_of_the_same_layers(packed, offline, tmp_path):
    file, _ = packed
    done = offline("build", file, "--name", "other", "--no-verify", "--output", f"oci:{tmp_path}/o")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("other:1@")


@pytest.mark.long
def test_its_context_is_rendered_without_a_network(packed, offline, imagesmith, tmp_path):
    file, _ = packed
    done = offline("render", file, "-o", tmp_path / "offline")
    assert done.returncode == 0, done.stderr
    bundle = tmp_path / "bundle"
    imagesmith("capture", *SUMS, "-o", bundle)
    done = imagesmith("render", bundle, "-o", tmp_path / "here")
    assert done.returncode == 0, done.stderr
    sums = [(tmp_path / place / "SHA256SUMS").read_text() for place in ("offline", "here")]
    assert sums[0] == sums[1]


def test_a_pack_has_its_own_lock_and_base(packed, offline):
    file, _ = packed
    done = offline("build", file, "--base", "3.11", "--deps", "all")
    assert done.returncode == 2, done.stderr
    assert "[usage.pack]" in done.stderr


def test_a_file_that_is_no_pack_is_left_alone(imagesmith, tmp_path):
    (tmp_path / "mine").write_text("mine")
    done = imagesmith("pack", *SUMS, "-o", tmp_path / "mine")
    assert done.returncode == 8, done.stderr
    assert (tmp_path / "mine").read_text() == "mine"


def test_one_blob_that_was_changed_is_named_and_nothing_is_taken(packed, offline, tmp_path):
    file, _ = packed
    spoilt = shutil.copyfile(file, tmp_path / "spoilt.pack")
    with tarfile.open(file) as tar:
        blob = max(tar, key=lambda info: info.size)
    with spoilt.open("r+b") as opened:
        opened.seek(blob.offset_data + blob.size // 2)
        opened.write(b"spoilt")
    done = offline("build", spoilt)
    assert done.returncode == 6, done.stderr
    assert f"{blob.name!r}: it is not what SHA256SUMS says" in done.stderr
    assert not (tmp_path / "cache" / "blobs").exists()


@pytest.mark.long
def test_what_was_exchanged_together_with_its_sum_gives_another_image_and_is_told(
    packed, offline, tmp_path
):
    file, _ = packed
    changed = tmp_path / "changed.pack"
    with tarfile.open(file) as before, tarfile.open(changed, "w") as after:
        old = before.extractfile("runtime/rpc.py").read()
        new = old + b"# changed\n"
        old_sum, new_sum = (hashlib.sha256(data).hexdigest().encode() for data in (old, new))
        for info in before:
            data = before.extractfile(info).read() if info.isfile() else b""
            data = new if data == old else data.replace(old_sum, new_sum)
            info.size = len(data)
            after.addfile(info, io.BytesIO(data))
    done = offline("build", changed)
    assert (done.returncode, done.stdout) == (6, "")
    assert "it was packed as sha256:" in done.stderr


@pytest.mark.skopeo
def test_skopeo_reads_the_image_out_of_it(packed, tmp_path):
    file, reference = packed
    copy = ["skopeo", "copy", "-q", f"oci-archive:{file}:sums:1", f"oci:{tmp_path}/copied:sums:1"]
    subprocess.run(copy, check=True)
    (image,) = layout.images(tmp_path / "copied")
    assert f"{image.pinned}\n" == reference
    assert image.config.labels[oci.LABEL_MODEL] == "sums"
