"""Small images of known contents: what their layers hold is written out in a test."""

from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member
from imagesmith.store import canonical

SITE = "opt/env/lib/python3.11/site-packages"
CREATED = "1970-01-01T00:00:00Z"


def installed(name, version, files, *, listed=()):
    """Give the members of an installed wheel: files by their path in site-packages, its RECORD."""
    info = f"{name}-{version}.dist-info"
    named = [*files, *listed, f"{info}/METADATA", f"{info}/RECORD"]
    record = "".join(f"{path},,\n" for path in named).encode()
    everything = {**files, f"{info}/METADATA": b"Name: x\n", f"{info}/RECORD": record}
    return [file_member(f"{SITE}/{path}", data) for path, data in everything.items()]


def by_conda(name, version, files):
    """Give the members of a conda package: files by their path in the prefix, its record."""
    record = canonical({"name": name, "version": version, "files": list(files)})
    everything = {**files, f"conda-meta/{name}-{version}-0.json": record}
    return [file_member(f"opt/env/{path}", data) for path, data in everything.items()]


def image_of(store, layers, reference="demo:1", labels=None):
    """Make an image of these layers, each a list of members, in a store."""
    written = tuple(write_layer(store, members, f"layer {n}") for n, members in enumerate(layers))
    config = oci.ImageConfig(user="1000:1000", labels=labels or {})
    return oci.assemble(store, reference, written, config, CREATED)
