"""What opens an index, a file or a channel is in nothing that imagesmith writes or says."""

import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
import zipfile
from functools import partial

import pytest
from uv import find_uv_bin

from fixtures.channel import stock
from fixtures.channel.peer import solve
from imagesmith.findings import ExitCode
from imagesmith.publish.layout import LayoutPublisher
from tests.resolve.local_channel import LocalChannel, guarded
from tests.resolve.local_index import local_index

pytestmark = [pytest.mark.apt, pytest.mark.index, pytest.mark.root]

SECRET = "s3cret-word"
LOGIN = ("me", SECRET)
# As it is written, and as HTTP sends it.
SECRETS = (SECRET.encode(), base64.b64encode(":".join(LOGIN).encode()))
# The models have it in them, to show that looking for a word finds it wherever it may be.
PLAIN = b"pl4in-word"
PACKAGES = ("python", "numpy", "pyzmq", "cloudpickle", "prometheus-client")
MODEL = """
import {modules}

NOTE = "pl4in-word"
USED = ({modules},)


def predict(inputs):
    return [" ".join([NOTE, *(module.__name__ for module in USED)]) for _ in inputs]
"""


def contents(path):
    """Give the bytes of a file, and what is packed into it."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())


def holding(words, *places):
    """Give for each word the files that have it in them, in their name, or in what they link to."""
    found = {word: set() for word in words}
    for path in (path for place in places for path in place.rglob("*")):
        texts = [os.fsencode(path.name)]
        if path.is_symlink():
            texts.append(os.fsencode(path.readlink()))
        elif path.is_file():
            texts += contents(path)
        for word in words:
            if any(word in text for text in texts):
                found[word].add(path)
    return found


@pytest.fixture(scope="module")
def base_layout(base, tmp_path_factory):
    place = tmp_path_factory.mktemp("base") / "layout"
    LayoutPublisher(place).publish(base)
    return place


@pytest.fixture
def own(tmp_path):
    """Give the folder of all that is kept here: imagesmith's store, uv's cache, what is passing."""
    folder = tmp_path / "own"
    for name in ("store", "uv", "tmp"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def run(imagesmith, own):
    """Give a function that runs a command, which keeps nothing anywhere else."""
    places = {"IMAGESMITH_CACHE": "store", "UV_CACHE_DIR": "uv", "TMPDIR": "tmp"}
    environment = {name: str(own / place) for name, place in places.items()}
    return partial(imagesmith, **environment)


@pytest.fixture
def taken(samples, tmp_path):
    """Give a function that gives the arguments that capture a model of some modules."""

    def write(prefix, modules):
        target = tmp_path / "project" / "model.py"
        target.parent.mkdir()
        target.write_text(MODEL.format(modules=", ".join(modules)))
        return (
            *(f"{target}:predict", "--name", "m", "--version", "1", "--env", prefix),
            *("--input-type", "doubles", "--samples", samples("[[1.0]]")),
        )

    return write


@pytest.fixture
def walked(run, taken, base_layout, tmp_path):
    """Give a function that does all that is done with a model, and gives the folder of the results.

    What the commands said is in there too.
    """

    def walk(prefix, modules, *options, **environment):
        out = tmp_path / "out"
        (out / "said").mkdir(parents=True)
        model = taken(prefix, modules)
        options = ("--base", f"oci:{base_layout}", *options)
        bundle, lock = out / "bundle", out / "lock"
        steps = {
            "build": ("build", *model, *options, "--output", f"oci:{out}/image"),
            "json": ("build", *model, *options, "--output", f"oci:{out}/image", "--json"),
            "capture": ("capture", *model, "--output", bundle),
            "lock": ("lock", bundle, *options, "--output", lock, "--html", lock / "report.html"),
            "render": ("render", bundle, *options, "--output", out / "context"),
            "diff": ("diff", bundle, lock),
        }
        for name, step in steps.items():
            done = run(*step, **environment)
            assert done.returncode == 0, done.stderr
            (out / "said" / name).write_text(done.stdout + done.stderr)
        return out

    return walk


def assert_told_nowhere(out, own):
    """Check that the secrets are in nothing that came of a walk, or that is kept for the next."""
    found = holding((PLAIN, *SECRETS), out, own)
    for place in (out / "image", out / "bundle", out / "context", own / "store"):
        assert any(path.is_relative_to(place) for path in found[PLAIN]), place
    assert "2 answers, 2 as the function's own" in (out / "said" / "build").read_text()
    assert "report.json" in {path.name for path in (out / "lock").iterdir()}
    assert [found[secret] for secret in SECRETS] == [set(), set()]


def uv(*arguments, **environment):
    subprocess.run([find_uv_bin(), *arguments], env={**os.environ, **environment}, check=True)


class TestOfAnIndexAndADirectReference:
    """One package is of an extra index whose URL has the login, one of a URL that netrc opens."""

    @pytest.fixture
    def index(self, tmp_path):
        with local_index(tmp_path / "indexed") as index:
            index.wheel("indexed-thing", "1.0")
            index.password = LOGIN
            yield index

    @pytest.fixture
    def files(self, tmp_path):
        with local_index(tmp_path / "referred") as files:
            files.wheel("referred-thing", "1.0")
            files.password = LOGIN
            yield files

    @pytest.fixture
    def venv(self, index, files, tmp_path):
        """Make an environment of both, with the login in it that old installers leave there."""
        venv = tmp_path / "venv"
        wheels = [path for server in (index, files) for path in server.folder.iterdir()]
        uv("venv", "--quiet", "--python", sys.executable, venv)
        uv("pip", "install", "--quiet", "--python", venv / "bin" / "python", "numpy", *wheels)
        said = {
            "url": f"http://me:{SECRET}@{files.netloc}/files/referred_thing-1.0-py3-none-any.whl"
        }
        (site,) = venv.glob("lib/python*/site-packages")
        (site / "referred_thing-1.0.dist-info" / "direct_url.json").write_text(
            json.dumps({**said, "archive_info": {}})
        )
        (site / "indexed_thing-1.0.dist-info" / "direct_url.json").unlink()
        return venv

    def environment(self, index, tmp_path):
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
        (tmp_path / "netrc").chmod(0o600)
        ours = f"http://me:{SECRET}@{index.netloc}/simple"
        theirs = os.environ.get("PIP_EXTRA_INDEX_URL", "")
        return {"PIP_EXTRA_INDEX_URL": f"{ours} {theirs}", "NETRC": str(tmp_path / "netrc")}

    def test_their_login_is_in_nothing_that_is_written_or_said(
        self, walked, own, venv, index, files, tmp_path
    ):
        out = walked(venv, ("indexed_thing", "referred_thing"), **self.environment(index, tmp_path))
        assert "/files/indexed_thing-1.0-py3-none-any.whl" in index.requests
        assert "/files/referred_thing-1.0-py3-none-any.whl" in files.requests
        assert index.netloc.encode() in (out / "lock" / "pylock.toml").read_bytes()
        assert files.netloc.encode() in (out / "lock" / "pylock.toml").read_bytes()
        assert_told_nowhere(out, own)

    @pytest.mark.parametrize("closed", ["index", "files"])
    def test_nor_is_it_where_it_opens_nothing(
        self, run, taken, own, base_layout, venv, index, files, tmp_path, closed
    ):
        server = {"index": index, "files": files}[closed]
        server.password = ("me", "another")
        done = run(
            *("build", *taken(venv, ("indexed_thing", "referred_thing"))),
            *("--base", f"oci:{base_layout}", "--output", f"oci:{tmp_path}/image", "--json"),
            **self.environment(index, tmp_path),
        )
        assert done.returncode == ExitCode.UNREACHABLE, done.stderr
        assert server.netloc in done.stderr
        assert not any(secret.decode() in done.stdout + done.stderr for secret in SECRETS)
        assert [*holding(SECRETS, own).values()] == [set(), set()]


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    """Serve real packages to whoever has the secret, and install them from there.

    Gives HOST:PORT, the prefix, and the paths that are asked for.
    """
    folder = tmp_path_factory.mktemp("conda")
    stock(folder / "channel", PACKAGES)
    with guarded(LocalChannel(folder / "channel"), SECRET) as (host, asked):
        url = f"http://{host}/t/{SECRET}/channel"
        assert "" not in solve(url, *PACKAGES, prefix=folder / "env")
        yield host, folder / "env", asked


@pytest.mark.long
class TestOfACondaChannel:
    @pytest.fixture(params=["a token that an option names", "a password that condarc knows"])
    def named(self, request, channel, tmp_path):
        """Name the channel with its secret: gives its URL, options, and condarc's path."""
        host, _, _ = channel
        condarc = tmp_path / "condarc"
        condarc.touch()
        if "token" in request.param:
            url = f"http://{host}/t/{SECRET}/channel"
            return url, ("--channel", url), condarc
        url = f"http://me:{SECRET}@{host}/channel"
        condarc.write_text(f"channels: ['{url}']\n")
        return url, (), condarc

    @pytest.fixture
    def prefix(self, channel, named, tmp_path):
        """Make an environment with the secret in its records, where old installers leave it."""
        _, installed, _ = channel
        prefix = tmp_path / "env"
        shutil.copytree(installed, prefix, symlinks=True)
        url, _, _ = named
        for record in prefix.glob("conda-meta/*.json"):
            said = json.loads(record.read_text())
            said |= {"channel": url, "url": f"{url}/{said['subdir']}/{said['fn']}"}
            record.write_text(json.dumps(said))
        return prefix

    def test_what_opens_it_is_in_nothing_that_is_written_or_said(
        self, walked, own, channel, named, prefix
    ):
        host, _, asked = channel
        _, options, condarc = named
        asked.clear()
        out = walked(prefix, ("numpy",), *options, CONDARC=str(condarc))
        assert any("/linux-64/numpy-" in path for path in asked)
        assert f"http://{host}/channel" in (out / "lock" / "conda-lock.yml").read_text()
        assert_told_nowhere(out, own)
