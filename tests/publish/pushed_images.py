"""Images of the tests' own that share an environment and differ in their model."""

import random

from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member

ENVIRONMENT = 3 << 20  # bytes, incompressible


def make_model(store, reference, model=b"model", seed=1):
    """Make an image of a base, an environment (another one for another seed) and a model."""
    heavy = random.Random(seed).randbytes(ENVIRONMENT)
    layers = (
        write_layer(store, [file_member("etc/base", b"base")], "base"),
        write_layer(store, [file_member("opt/env/heavy.so", heavy)], "environment"),
        write_layer(store, [file_member("model/func.pkl", model)], "model"),
    )
    config = oci.ImageConfig(
        env={"PATH": "/usr/bin"}, entrypoint=("/bin/true",), labels={oci.LABEL_PYTHON: "3.11"}
    )
    return oci.assemble(store, reference, layers, config, "1970-01-01T00:00:00Z")


def with_model(store, image, model):
    """Make an image on another one's environment, with a model of its own."""
    own = write_layer(store, [file_member("model/func.pkl", model)], "model")
    layers = (*image.layers[:-1], own)
    return oci.assemble(store, "demo:2", layers, image.config, "1970-01-01T00:00:00Z")
