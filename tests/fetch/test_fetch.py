"""Fetching: what is locked is in the store whole and proved, or not at all; all faults are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from file_server import file_server

from imagesmith.fetch import download, fetch, source
from imagesmith.findings import ImagesmithError
from imagesmith.progress import Silent
from imagesmith.resolve.files import write
from imagesmith.resolve.lock import Lock, LockedPackage, LockedWheel
from imagesmith.resolve.platform import Target
from imagesmith.store import Store, sha256

TARGET = Target("3.11", "2.36")


@pytest.fixture(autouse=True)
def hermetic(tmp_path, monkeypatch):
    """Hide the configuration of pip, uv and the network, and be quick in trying again."""
    for name in os.environ:
        if name.upper().startswith(("PIP_", "UV_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "_PAUSES", (0.01, 0.02))
    return monkeypatch


@pytest.fixture
def server():
    with file_server() as server:
        yield server


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def wheel(server):
    """Put a wheel on the server and say how a lock names it."""

    def make(name, size=3000) -> LockedWheel:
        data = name.encode() * (size // len(name))
        filename = f"{name}-1.0-py3-none-any.whl"
        server.files[filename] = data
        return LockedWheel(name, "1.0", filename, server.url(filename), sha256(data))

    return make


@pytest.fixture
def package(server):
    """Put a conda package on the server and say how a lock names it."""

    def make(name) -> LockedPackage:
        filename = f"{name}-1.0-0.conda"
        data = server.files[filename] = name.encode()
        url = server.url(filename)
        return LockedPackage(name, "1.0", "0", "linux-64", filename, url, sha256(data), "", ())

    return make


class Meter(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.said: list[str] = []
        self._lock = threading.Lock()

    def say(self, stage, text):
        self.said.append(f"{stage}: {text}")

    @contextmanager
    def count(self, stage, text, total):
        self.total = total

        def advance(units):
            with self._lock:
                self.done += units

        yield advance


def lock(*wheels) -> Lock:
    return Lock(TARGET, tuple(wheels))


def failures(locked, store, **more):
    with pytest.raises(ImagesmithError) as stopped:
        fetch(locked, store, Silent(), **more)
    return stopped.value.findings


def is_clean(store) -> bool:
    """Say whether the store holds whole blobs and nothing else."""
    files = [path for path in store.root.rglob("*") if path.is_file()]
    return all(sha256(path.read_bytes()) == f"sha256:{path.name}" for path in files)


def test_every_wheel_is_in_the_store_by_its_digest(server, wheel, store):
    wheels = [wheel(f"pkg{number}") for number in range(20)]
    fetch(lock(*wheels), store, Silent())
    for found in wheels:
        assert store.path(found.digest).read_bytes() == server.files[found.filename]
    assert is_clean(store)


def test_what_the_store_has_is_not_asked_for(server, wheel, store):
    alpha, beta = wheel("alpha"), wheel("beta")
    fetch(lock(alpha), store, Silent())
    server.requests.clear()
    fetch(lock(alpha, beta), store, Silent())
    assert server.requests == [beta.filename]


def test_two_builds_at_once_ask_for_each_wheel_once(server, wheel, store):
    wheels = [wheel(f"pkg{number}", 300_000) for number in range(8)]
    together = threading.Barrier(2)

    def fetch_it():
        together.wait()
        fetch(lock(*wheels), store, Silent())

    builds = [threading.Thread(target=fetch_it) for _ in range(2)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert sorted(server.requests) == sorted(found.filename for found in wheels)
    assert all(store.has(found.digest) for found in wheels)


def test_progress_is_told_in_bytes(wheel, store):
    meter = Meter()
    fetch(lock(wheel("alpha", 4000), wheel("beta", 6000)), store, meter)
    assert (meter.total, meter.done) == (10000, 10000)
    assert meter.said == ["fetch: 2 wheels, 0 MB"]


@pytest.mark.parametrize("proxy", ["me:s3cret", "socks9://me:s3cret@h", "http://me:s3cret@h:x"])
def test_a_proxy_that_is_none_is_told_without_its_password(wheel, store, hermetic, proxy):
    hermetic.setenv("HTTP_PROXY", proxy)
    (finding,) = failures(lock(wheel("alpha")), store)
    assert finding.code == "usage.proxy"
    assert "s3cret" not in str(finding.as_dict())


def test_a_server_that_does_not_tell_sizes_serves_too(server, wheel, store):
    server.knows_head = False
    meter = Meter()
    alpha = wheel("alpha", 4000)
    fetch(lock(alpha), store, meter)
    assert (meter.total, meter.done) == (0, 4000)
    assert store.has(alpha.digest)


def test_a_wheel_in_a_folder_is_copied(tmp_path, store):
    path = tmp_path / "a folder" / "alpha-1.0-py3-none-any.whl"
    path.parent.mkdir()
    path.write_bytes(b"wheel")
    found = LockedWheel("alpha", "1.0", path.name, path.as_uri(), sha256(b"wheel"))
    fetch(lock(found), store, Silent())
    assert store.has(found.digest)


def test_a_redirect_is_followed(server, wheel, store):
    alpha, moved = wheel("alpha"), wheel("moved")
    server.files[moved.filename] = server.files[alpha.filename]
    server.faults[alpha.filename] = [f"to:{moved.url}"]
    fetch(lock(alpha), store, Silent())
    assert store.has(alpha.digest)


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut"])
def test_what_passes_by_itself_is_tried_again(server, wheel, store, fault):
    alpha = wheel("alpha")
    server.faults[alpha.filename] = [fault, fault, ""]
    meter = Meter()
    fetch(lock(alpha), store, meter)
    assert store.has(alpha.digest)
    assert server.requests == [alpha.filename] * 3
    assert meter.done == meter.total


def test_another_file_than_was_locked_is_refused(server, wheel, store):
    alpha = wheel("alpha")
    server.faults[alpha.filename] = ["changed"]
    (finding,) = failures(lock(alpha), store)
    assert finding.code == "build.wheel-hash"
    assert alpha.digest in finding.message
    assert sha256(b"other" + server.files[alpha.filename][5:]) in finding.message
    assert not store.has(alpha.digest)
    assert is_clean(store)


@pytest.mark.parametrize("status", ["404", "410"])
def test_a_wheel_that_is_gone_is_told(server, wheel, store, status):
    alpha = wheel("alpha")
    server.faults[alpha.filename] = [status]
    (finding,) = failures(lock(alpha), store)
    assert (finding.code, finding.subject) == ("missing.wheel-gone", alpha.url)
    assert server.requests == [alpha.filename]


def test_a_wheel_that_is_gone_from_its_folder_is_told(tmp_path, store):
    url = (tmp_path / "alpha-1.0-py3-none-any.whl").as_uri()
    found = LockedWheel("alpha", "1.0", "alpha-1.0-py3-none-any.whl", url, sha256(b""))
    (finding,) = failures(lock(found), store)
    assert (finding.code, finding.subject) == ("missing.wheel-gone", url)


@pytest.mark.parametrize("fault", ["500", "cut"])
def test_what_does_not_pass_is_out_of_reach(server, wheel, store, fault):
    alpha = wheel("alpha")
    server.faults[alpha.filename] = [fault]
    (finding,) = failures(lock(alpha), store)
    assert finding.code == "reach.index"
    assert server.requests == [alpha.filename] * 3
    assert is_clean(store)


def test_a_server_that_falls_silent_is_out_of_reach(server, wheel, store, hermetic):
    hermetic.setattr(source, "_SILENCE", 0.2)
    hermetic.setattr(download, "_PAUSES", ())
    alpha = wheel("alpha")
    server.faults[alpha.filename] = ["hang"]
    (finding,) = failures(lock(alpha), store)
    assert (finding.code, finding.subject) == ("reach.index", server.netloc)


def test_a_server_where_nobody_listens_is_told_once(store):
    wheels = [
        LockedWheel(n, "1.0", f"{n}.whl", f"http://127.0.0.1:1/{n}.whl", sha256(n.encode()))
        for n in ("alpha", "beta", "gamma")
    ]
    (finding,) = failures(lock(*wheels), store)
    assert (finding.code, finding.subject) == ("reach.index", "127.0.0.1:1")


def test_all_faults_are_told_at_once_and_the_rest_is_kept(server, wheel, store):
    fine, gone, changed, broken = map(wheel, ("fine", "gone", "changed", "broken"))
    del server.files[gone.filename]
    server.faults[changed.filename] = ["changed"]
    server.faults[broken.filename] = ["500"]
    findings = failures(lock(fine, gone, changed, broken), store)
    assert {f.code for f in findings} == {"missing.wheel-gone", "build.wheel-hash", "reach.index"}
    assert store.has(fine.digest)


def test_the_login_of_the_index_opens_its_wheels(server, wheel, store):
    server.password = ("me", "s3cret")
    alpha = wheel("alpha")
    fetch(lock(alpha), store, Silent(), index_url=f"http://me:s3cret@{server.netloc}/simple")
    assert store.has(alpha.digest)


def test_the_configured_index_and_netrc_open_wheels_too(server, wheel, store, tmp_path, hermetic):
    server.password = ("me", "s3cret")
    alpha, beta = wheel("alpha"), wheel("beta")
    hermetic.setenv("PIP_INDEX_URL", f"http://me:s3cret@{server.netloc}/simple")
    fetch(lock(alpha), store, Silent())
    hermetic.delenv("PIP_INDEX_URL")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    hermetic.setenv("NETRC", str(tmp_path / "netrc"))
    fetch(lock(beta), store, Silent())
    assert store.has(alpha.digest)
    assert store.has(beta.digest)


def test_a_refused_login_is_told_without_the_password(server, wheel, store):
    server.password = ("me", "s3cret")
    url = f"http://me:wr0ng@{server.netloc}/simple"
    (finding,) = failures(lock(wheel("alpha")), store, index_url=url)
    assert finding.code == "reach.index"
    assert "password" in finding.remedy
    assert "wr0ng" not in str(finding.as_dict())


def test_a_login_does_not_follow_a_redirect_to_another_host(server, wheel, store):
    with file_server() as other:
        alpha = wheel("alpha")
        other.files[alpha.filename] = server.files[alpha.filename]
        other.password = ("me", "s3cret")  # the other would take it, if it were sent
        server.faults[alpha.filename] = [f"to:{other.url(alpha.filename)}"]
        url = f"http://me:s3cret@{server.netloc}/simple"
        (finding,) = failures(lock(alpha), store, index_url=url)
    assert (finding.code, "401" in finding.message) == ("reach.index", True)


_CHILD = """
import sys
from pathlib import Path
from imagesmith.fetch import fetch
from imagesmith.progress import Silent
from imagesmith.resolve.files import read
from imagesmith.store import Store
fetch(read(Path(sys.argv[1])), Store(Path(sys.argv[2])), Silent())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_fetch_leaves_no_half_wheel_and_goes_on(server, wheel, store, tmp_path, how):
    alpha, beta = wheel("alpha"), wheel("beta")
    server.faults[beta.filename] = ["hang"]
    write(lock(alpha, beta), tmp_path / "lock")
    child = subprocess.Popen([sys.executable, "-c", _CHILD, tmp_path / "lock", store.root])
    assert server.asked.wait(30)
    child.send_signal(how)
    server.released.set()
    assert child.wait(30) != 0
    assert not store.has(beta.digest)
    server.faults.clear()
    fetch(lock(alpha, beta), store, Silent())
    assert store.has(alpha.digest)
    assert store.has(beta.digest)


def test_conda_packages_are_brought_as_wheels_are(wheel, package, store):
    meter, locked = Meter(), Lock(TARGET, (wheel("alpha"),), (package("beta"), package("gamma")))
    fetch(locked, store, meter)
    assert all(store.has(artifact.digest) for artifact in locked.artifacts)
    assert meter.said == ["fetch: 2 packages and 1 wheel, 0 MB"]
    assert is_clean(store)


def test_what_is_wrong_with_a_package_is_said_of_its_channel(server, package, store):
    changed, gone, refused = (package(name) for name in ("changed", "gone", "refused"))
    server.files[changed.filename] = b"other"
    server.faults[gone.filename] = ["404"]
    server.faults[refused.filename] = ["403"]
    found = failures(Lock(TARGET, (), (changed, gone, refused)), store)
    codes = ["build.package-hash", "missing.package-gone", "reach.channel"]
    assert [finding.code for finding in found] == codes
    assert all("channel" in finding.remedy for finding in found[:2])
    assert "netrc" in found[2].remedy
