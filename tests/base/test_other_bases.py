"""The bases of the other Pythons, and the one for Spark: small, whole, the same each time."""

import json
import subprocess
from dataclasses import replace

import pytest
from root_files import lacking

from imagesmith import base as bases
from imagesmith.base.flavour import PYSPARK
from imagesmith.image import oci
from imagesmith.image.bytecode import base_python
from imagesmith.image.unpack import unpacked
from imagesmith.progress import Silent
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.run.runner import Network
from imagesmith.store import Store

pytestmark = [pytest.mark.apt, pytest.mark.long]

CODE = """
import bz2, ctypes, decimal, hashlib, json, lzma, sqlite3, ssl, sys, uuid, zlib, zoneinfo
ctypes.CDLL("libstdc++.so.6")
print(json.dumps(["%d.%d" % sys.version_info[:2], json.__cached__]))
"""


def root_of(image, store):
    (layer,) = image.layers
    return unpacked(store, image.blob(layer.blob.digest), layer)


@pytest.fixture(scope="module", params=["3.9", "3.13"])
def other(request, store):
    return bases.ensure(store, request.param, Silent())


def test_it_is_small_and_lacks_nothing_of_what_it_holds(other, store):
    assert bases.described(other, store)["size"] < 60e6
    assert lacking(root_of(other, store)) == {}


def test_its_python_starts_from_byte_code(other, store):
    python = other.config.labels[oci.LABEL_PYTHON]
    interpreter = base_python(root_of(other, store), python)
    done = subprocess.run(
        [*interpreter.argv, "-c", CODE], env=interpreter.env, capture_output=True, check=True
    )
    found, cached = json.loads(done.stdout)
    assert found == python
    assert cached.endswith(f".cpython-{python.replace('.', '')}.pyc")


def test_the_same_packages_give_the_same_digest_of_every_python(other, tmp_path):
    python = other.config.labels[oci.LABEL_PYTHON]
    again = bases.make(Store(tmp_path), python, Silent())
    if again.config.labels != other.config.labels:  # Debian has moved on since
        other = bases.make(Store(tmp_path / "b"), python, Silent())
    assert again.manifest.digest == other.manifest.digest


@pytest.mark.root
def test_the_one_for_spark_runs_java_and_bash(store):
    image = bases.ensure(store, "3.11", Silent(), PYSPARK)
    assert lacking(root_of(image, store)) == {}
    config = replace(image.config, entrypoint=("python", "-c", "import time; time.sleep(600)"))
    container = RootfsRunner(store).start(
        replace(image, config=replace(config, user="1000:1000")), env={}, network=Network.NONE
    )
    try:
        done = container.execute(["bash", "-c", 'exec "$JAVA_HOME/bin/java" -version'], b"", 60)
        assert done.status == 0, done.stderr
        assert b'openjdk version "17' in done.stderr
        assert container.execute(["java", "-version"], b"", 60).status == 0
    finally:
        container.stop(grace=1)
