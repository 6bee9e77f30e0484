"""One model, one digest: whoever builds it, where, when and on what.

Nothing is shared between two builds but the base, which is a file here: each has its own cache.
"""

import os

import pytest

from imagesmith.publish.layout import LayoutPublisher

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.apt, pytest.mark.index]

MODEL = """# -*- coding: latin-1 -*-\r
import helper, numpy\r
NAMES = {'\xe9', 'b', 'c', None}\r
class Model:\r
    '''A class that is pickled by value.'''\r
    def __call__(self, inputs):\r
        assert len(inputs), 'no inputs'\r
        return [helper.size() + numpy.sum(one) for one in inputs]\r
model = Model()\r
model.known = frozenset(['x', 'y', 'zz', None])\r
model.names = NAMES\r
"""
HELPER = """from pathlib import Path
SETS = {"p", "q", (None, 1)}
def size():
    '''Read what lies beside.'''
    assert 2.5 not in {None, "a", ("b", None)}
    return len(Path(__file__).with_name("données").joinpath("ü.txt").read_bytes())
"""


def make_project(folder, when):
    """Write a model and a package that it uses, last changed then."""
    (folder / "helper" / "données").mkdir(parents=True)
    (folder / "model.py").write_bytes(MODEL.encode("latin-1"))
    (folder / "helper" / "__init__.py").write_bytes(HELPER.encode())
    (folder / "helper" / "données" / "ü.txt").write_bytes(b"12345")
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (when, when))


@pytest.fixture
def digest(imagesmith, base, samples, tmp_path):
    """Give a function that builds the model in a folder of its own and gives its digest."""
    LayoutPublisher(tmp_path / "base").publish(base)

    def build(name, when=1_000_000_000, umask=0o022, under=(), **environment):
        folder = tmp_path / name
        make_project(folder, when)
        for own in ("home", "scratch"):
            (tmp_path / f"{own}-{folder.name}").mkdir()
        before = os.umask(umask)
        try:
            done = imagesmith(
                *("build", "model.py:model", "--name", "m", "--version", "1", "--no-verify"),
                *("--samples", samples("[[1.0], [2.0]]")),
                *("--base", f"oci:{tmp_path}/base", "--output", f"oci:{folder}-out"),
                cwd=folder,
                under=under,
                IMAGESMITH_CACHE=str(tmp_path / f"cache-{folder.name}"),
                HOME=str(tmp_path / f"home-{folder.name}"),
                TMPDIR=str(tmp_path / f"scratch-{folder.name}"),
                **environment,
            )
        finally:
            os.umask(before)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return build


def test_host_time_user_and_cores_are_no_part_of_an_image(digest):
    expected = digest("one")
    # A user namespace in which nobody is root, and one core.
    other = ("taskset", "--cpu-list", "0", "unshare", "--user", "--map-user=1000", "--map-group=7")
    assert expected == digest("far/away/two", 2_000_000_000, umask=0o077, under=other)
    assert expected == digest(
        *("an/ötherer/three", 3_000_000_000, 0),
        TZ="Asia/Kathmandu",
        PYTHONHASHSEED="7",
        PYTHONOPTIMIZE="2",
        LC_ALL="POSIX",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
