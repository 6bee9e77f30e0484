"""Plans of the tests' own: small ones that need no Python, and how to look into an image."""

import hashlib
import io
import json
import tarfile
import zipfile

from debs import link, make_deb

from imagesmith.image import oci
from imagesmith.image.bytecode import ByteCode
from imagesmith.image.layer import write_layer
from imagesmith.image.plan import FilesLayer, ImagePlan, PrefixLayer, WheelsLayer
from imagesmith.image.system import SystemLayer, SystemPackage
from imagesmith.image.tar import file_member
from imagesmith.resolve.lock import Lock, LockedWheel
from imagesmith.resolve.platform import Target

CREATED = "1970-01-01T00:00:00Z"
CONFIG = oci.ImageConfig(
    env={"PATH": "/opt/env/bin:/usr/bin", "A": "1"},
    entrypoint=("/opt/env/bin/python", "-m", "m"),
    user="1000:1000",
    working_dir="/container",
    labels={"io.imagesmith.model": "m"},
    exposed_ports=("7000/tcp",),
    healthcheck={"Test": ["CMD", "test", "-f", "/ready"], "Interval": 3_000_000_000, "Retries": 1},
)


def tiny_base(store):
    """Make a base of one file, as far as rendering can tell."""
    layer = write_layer(store, [file_member("etc/os-release", b"ID=tiny\n")], "tiny")
    config = oci.ImageConfig(env={"PATH": "/usr/bin"})
    return oci.assemble(store, "closure-base:3.11", (layer,), config, CREATED)


def no_byte_code(sources, digest, prefix):
    """Compile nothing."""
    return ByteCode(digest, sources, ())


def add_wheel(store, folder, name):
    """Make a wheel of one module and keep it in the store."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    files = {
        f"{name}/__init__.py": b"X = 1\n",
        f"{name}-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for member, data in files.items():
            wheel.writestr(zipfile.ZipInfo(member), data)
        record = "".join(f"{member},,\n" for member in files)
        wheel.writestr(zipfile.ZipInfo(f"{name}-1.0.dist-info/RECORD"), record)
    return LockedWheel(
        name, "1.0", path.name, f"https://index.example/{path.name}", store.add_file(path)
    )


def add_package(store, folder):
    """Make a Debian package of a library and its link, and keep it in the store."""
    folder = folder / "libtool1.deb"
    library = "./lib/x86_64-linux-gnu/libtool.so.1"
    make_deb(folder, "libtool1", {f"{library}.0": b"x"}, members=[link(library, "libtool.so.1.0")])
    return SystemPackage("libtool1", "1.0", store.add_file(folder))


def make_plan(base, wheels, packages=(), config=CONFIG):
    """Plan an image with every kind of layer; the first wheel has one of its own."""
    first, *others = wheels
    layers = (
        *((SystemLayer(tuple(packages)),) if packages else ()),
        PrefixLayer("3.11", "/usr/bin/python3.11"),
        WheelsLayer((first,), "3.11"),
        WheelsLayer(tuple(others), "3.11"),
        FilesLayer("lock", texts={"opt/imagesmith/pylock.toml": b""}),
        FilesLayer(
            "runtime",
            texts={"container/x.py": b"X = 1\n"},
            links={"model_is_ready.check": "/dev/shm/model_is_ready.check"},
        ),
        FilesLayer("model", texts={"model/func.pkl": b"model", "model/é": "ä".encode()}),
    )
    return ImagePlan("m:1", base, layers, config, CREATED)


def lock_of(wheels):
    """Give the lock of these wheels."""
    return Lock(Target("3.11", "2.36"), tuple(wheels))


def facts(tar):
    """Give what is promised of each path of a tar: type, mode, owner, link, contents."""
    found = {}
    for member in tar:
        source = tar.extractfile(member) if member.isreg() else None
        content = hashlib.sha256(source.read()).hexdigest() if source else ""
        mode = oct(member.mode & 0o7777)  # an engine writes the type there too
        fact = (member.type, mode, member.uid, member.gid, member.linkname, content)
        found[member.name.rstrip("/")] = fact
    return found


def facts_of_image(image):
    """Merge the layers of an image of ours."""
    merged = {}
    for layer in image.layers:
        with tarfile.open(image.blob(layer.blob.digest)) as tar:
            merged.update(facts(tar))
    return merged


def facts_of_saved(data):
    """Merge the layers that ``docker save`` gave."""
    merged = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as saved:
        (manifest,) = json.load(saved.extractfile("manifest.json"))
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(name)) as tar:
                merged.update(facts(tar))
    return merged
