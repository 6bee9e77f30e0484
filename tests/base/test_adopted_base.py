"""An image from elsewhere becomes a base as ours are, or it is said why it cannot."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from uuid import uuid4

import pytest

from imagesmith import base as bases
from imagesmith.base.adopt import adopt
from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import oci
from imagesmith.image.layer import compressed
from imagesmith.image.layout import put
from imagesmith.image.unpack import unpacked
from imagesmith.progress import Silent
from imagesmith.publish.engine import EnginePublisher
from imagesmith.store import Store, sha256

LIBC = ("usr/lib/x86_64-linux-gnu/libc.so.6", b"GNU C Library (Debian) stable release version 2.36")
PYTHON = ("usr/local/bin/python3.11", b"python")


@pytest.fixture
def own(tmp_path):
    return Store(tmp_path / "store")


def entry(path, data=b"", kind=tarfile.REGTYPE, mode=0o644, link=""):
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, len(data)
    info.uid, info.mtime = 42, 1_700_000_000
    return info, data


def foreign(store, *layers):
    """Make an image of these layers, as another tool might have."""
    made = []
    for entries in layers:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for info, data in entries:
                tar.addfile(info, io.BytesIO(data))
        text = buffer.getvalue()
        made.append(compressed(store, sha256(text), lambda text=text: io.BytesIO(text), "theirs"))
    config = oci.ImageConfig(env={"PATH": "/usr/local/bin:/usr/bin"})
    return oci.assemble(store, "their:1", tuple(made), config, "1970-01-01T00:00:00Z")


def tree(image):
    """Give the members of the one layer by their path."""
    (layer,) = image.layers
    with tarfile.open(image.blob(layer.blob.digest)) as tar:
        return {
            info.name: (info, tar.extractfile(info).read() if info.isreg() else None)
            for info in tar
        }


def test_what_its_layers_leave_is_one_layer(own):
    image = foreign(
        own,
        [
            *(entry(*PYTHON, mode=0o4755), entry(*LIBC)),
            *(entry("etc/gone", b"1"), entry("etc/kept", b"1"), entry("var/a/b", b"1")),
            *(entry("opt/was", kind=tarfile.DIRTYPE, mode=0o755), entry("opt/was/in", b"1")),
            entry("dev/null", kind=tarfile.CHRTYPE),
        ],
        [
            *(entry("etc/.wh.gone"), entry("etc/kept", b"2")),
            *(entry("var/a/c", b"2"), entry("var/a/.wh..wh..opq"), entry("opt/was", b"file")),
            entry("usr/bin/hard", kind=tarfile.LNKTYPE, link="usr/local/bin/python3.11"),
            entry("lib", kind=tarfile.SYMTYPE, link="usr/lib"),
        ],
    )
    found = tree(adopt(image, own))
    assert "etc/gone" not in found
    assert "var/a/b" not in found
    assert "dev/null" not in found
    assert "opt/was/in" not in found
    assert {path: found[path][1] for path in ("etc/kept", "var/a/c", "opt/was")} == {
        "etc/kept": b"2",
        "var/a/c": b"2",
        "opt/was": b"file",
    }
    assert found["usr/bin/hard"][1] == b"python"
    assert found["lib"][0].linkname == "usr/lib"
    assert {(info.uid, info.gid, info.mtime) for info, _ in found.values()} == {(0, 0, 0)}
    assert found["usr/local/bin/python3.11"][0].mode == 0o755


def test_it_says_which_python_and_which_glibc_it_has(own):
    labels = adopt(foreign(own, [entry(*PYTHON), entry(*LIBC)]), own).config.labels
    assert labels[oci.LABEL_PYTHON] == "3.11"
    assert labels[oci.LABEL_EXECUTABLE] == "/usr/local/bin/python3.11"
    assert labels[oci.LABEL_GLIBC] == "2.36"


def test_the_same_layers_give_the_same_base_in_another_store(own, tmp_path):
    digests = set()
    for store in (own, Store(tmp_path / "other")):
        digests.add(adopt(foreign(store, [entry(*PYTHON), entry(*LIBC)]), store).manifest.digest)
    assert len(digests) == 1


def test_of_several_pythons_the_one_meant_is_to_be_named(own):
    image = foreign(own, [entry(*PYTHON), entry("usr/bin/python3.9", b"p"), entry(*LIBC)])
    with pytest.raises(ImagesmithError) as stopped:
        adopt(image, own)
    (finding,) = stopped.value.findings
    assert finding.code == "build.base-python"
    assert "3.11, 3.9" in finding.message
    assert adopt(image, own, "3.9").config.labels[oci.LABEL_PYTHON] == "3.9"


DANGLING = entry("usr/bin/python3.11", kind=tarfile.SYMTYPE, link="/nowhere")


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([entry(*LIBC)], "build.base-python"),
        ([DANGLING, entry(*LIBC)], "build.base-python"),
        ([entry(*PYTHON)], "build.base-glibc"),
        ([entry(*PYTHON), entry("lib/ld-musl-x86_64.so.1", b"musl")], "build.base-glibc"),
        ([entry("../outside", b"x"), entry(*PYTHON), entry(*LIBC)], "build.damaged"),
        ([entry("a", kind=tarfile.LNKTYPE, link="b"), entry(*PYTHON)], "build.damaged"),
    ],
)
def test_what_cannot_be_a_base_is_a_finding(own, tmp_path, entries, code):
    other = Store(tmp_path / "oci")
    put(other.root, foreign(other, entries))
    with pytest.raises(ImagesmithError) as stopped:
        bases.find(own, f"oci:{other.root}")
    assert [finding.code for finding in stopped.value.findings] == [code]
    assert stopped.value.exit_code is ExitCode.BUILD


DERIVED = """FROM {base}
USER 0:0
RUN busybox mkdir -p /usr/local/bin /usr/local/lib \\
 && busybox cp -a /usr/lib/python3.11 /usr/local/lib/ \\
 && busybox cp /usr/bin/python3.11 /usr/local/bin/ && busybox rm /usr/bin/python3.11 \\
 && busybox rm -r /usr/lib/python3.11
RUN busybox cp /bin/busybox /bin/su && busybox chmod 4755 /bin/su
"""


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.apt
@pytest.mark.index
@pytest.mark.long
def test_a_base_from_a_registry_builds_and_answers(store, base, engine, registry, tmp_path):
    def imagesmith(*arguments):
        command = [Path(sys.executable).with_name("imagesmith"), *arguments]
        env = {**os.environ, "IMAGESMITH_CACHE": str(tmp_path / "cache")}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    EnginePublisher(store, Silent(), engine.host).publish(base)
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text(DERIVED.format(base=base.reference))
    name = f"{registry.address}/python-{uuid4().hex}:3.11"
    engine.run("build", "--tag", name, tmp_path / "context")
    engine.run("push", name)
    engine.run("rmi", name)

    made = imagesmith("base", "build", "--from", name)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("closure-base:3.11@sha256:")
    (tmp_path / "m.py").write_text("def predict(inputs):\n    return [len(i) for i in inputs]\n")
    samples = tmp_path / "samples.json"
    samples.write_text(json.dumps([[1.0, 2.0]]))
    done = imagesmith(
        *("build", f"{tmp_path}/m.py:predict", "--name", "m", "--version", "1"),
        *("--input-type", "doubles", "--samples", samples, "--output", f"oci:{tmp_path}/out"),
        *("--base", made.stdout.strip()),
    )
    assert done.returncode == 0, done.stderr
    assert "answers, " in done.stderr
    (layer,) = bases.find(Store(tmp_path / "cache"), "3.11").layers
    root = unpacked(Store(tmp_path / "cache"), tmp_path / "cache" / "no", layer)
    assert (root / "usr/local/bin/python3.11").is_file()
    assert not (root / "usr/bin/python3.11").exists()
