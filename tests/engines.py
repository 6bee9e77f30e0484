"""A Docker engine and a registry of the tests' own, for as long as the tests run.

Each is started by the first test that needs it, in whichever pytest worker, and shared by all. A
keeper (this file, run as a program) holds it, and ends it with the pytest that it was started for,
however that ends: nothing is left running, mounted or written.
"""

import fcntl
import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

_FOLDER = "IMAGESMITH_TESTS_SERVICES"  # tells the workers where the keepers' folder is
_OWNER = "IMAGESMITH_TESTS_OWNER"  # and the pid of the pytest that started them
_STARTED_IN = 30.0  # seconds


class CannotStartError(Exception):
    """A service did not come up; the message says why."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine by its DOCKER_HOST."""

    host: str

    @property
    def cli(self):
        """The docker command that has BuildKit."""
        return docker_cli()

    def run(self, *argv, check=True, **options):
        """Run the docker command against the engine, BuildKit on unless ``env`` says otherwise."""
        env = {**os.environ, "DOCKER_BUILDKIT": "1", **options.pop("env", {})}
        env["DOCKER_HOST"] = self.host
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        done = subprocess.run([self.cli, *map(str, argv)], env=env, check=False, **options)
        assert not check or done.returncode == 0, f"docker {argv}: {done.stdout}{done.stderr}"
        return done

    def answers(self):
        """Say whether the engine is there."""
        return self.run("version", check=False).returncode == 0


@dataclass(frozen=True)
class OwnEngine(Engine):
    """An engine that nobody else uses, so that a test may kill it."""

    process: subprocess.Popen

    def kill(self):
        """End it at once, with all that it has started."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Registry:
    """A registry that speaks plain HTTP, ``HOST:PORT``."""

    address: str


@cache
def docker_cli():
    """Find a docker command that can build with BuildKit; None if there is none."""
    for folder in os.get_exec_path():
        command = Path(folder, "docker")
        if os.access(command, os.X_OK):
            env = {**os.environ, "DOCKER_BUILDKIT": "1"}
            asked = [command, "build", "--help"]
            told = subprocess.run(asked, env=env, capture_output=True, text=True, check=False)
            if told.returncode == 0 and "--secret" in told.stdout:
                return command
    return None


def running_engine():
    """Give the engine that DOCKER_HOST names or that this machine runs; None if there is none."""
    if docker_cli() is None:
        return None
    if host := os.environ.get("DOCKER_HOST"):
        return Engine(host)
    machines = Engine("unix:///var/run/docker.sock")
    return machines if machines.answers() else None


def lacking_engine():
    """Say why tests can have no Docker engine here; None if they can."""
    if docker_cli() is None:
        return "no docker command with BuildKit is on PATH"
    if running_engine() is None:
        if shutil.which("dockerd") is None:
            return "no Docker engine answers, and dockerd is not on PATH"
        if os.geteuid() != 0:
            return "no Docker engine answers, and only root can start one"
    return None


def lacking_registry():
    """Say why tests can have no registry here; None if they can."""
    return None if shutil.which("docker-registry") else "docker-registry is not on PATH"


@contextmanager
def dockerd(folder, *, size=None, by_tcp=False):
    """Run an engine in a folder, with ``size`` bytes of disk of its own if that is given.

    ``by_tcp`` it is reached as one on another machine is. It has mount and pid namespaces of its
    own: its mounts and all that it started end with it. iptables is left alone; containers reach
    each other and publish ports without it.
    """
    (folder / "data").mkdir(parents=True)
    host = f"unix://{folder}/docker.sock"
    limit = f"mount -t tmpfs -o size={size} tmpfs {folder}/data && " if size else ""
    daemon = [
        *("dockerd", "--host", host, "--pidfile", folder / "docker.pid"),
        *("--data-root", folder / "data", "--exec-root", folder / "exec"),
        *("--iptables=false", "--ip6tables=false", "--ip-masq=false"),
        *("--shutdown-timeout", "1"),
        *(("--host", "tcp://127.0.0.1:0", "--tls=false") if by_tcp else ()),
    ]
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*own, "sh", "-c", f'{limit}exec "$@"', "sh", *daemon]
    with _bridge() as bridge, _process([*command, "--bridge", bridge], folder / "log") as process:
        engine = OwnEngine(host, process)
        _wait(engine.answers, process, folder / "log")
        if by_tcp:
            listening = re.compile(r"API listen on (127\.0\.0\.1:\d+)")
            log = folder / "log"
            found = _wait(lambda: listening.search(log.read_text()), process, log)
            engine = OwnEngine(f"tcp://{found[1]}", process)
        yield engine
        if process.poll() is None:
            _empty(engine)


@contextmanager
def own_engine(**options):
    """Run an engine that nobody else uses, as ``dockerd`` does; a socket's path must be short."""
    with (
        tempfile.TemporaryDirectory(prefix="imagesmith-engine-") as folder,
        dockerd(Path(folder), **options) as engine,
    ):
        yield engine


@contextmanager
def docker_registry(folder):
    """Run a registry in a folder, on a free port of the loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}, "delete": {"enabled": True}},
        "http": {"addr": "127.0.0.1:0"},
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    log = folder / "log"

    def address():
        return re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())

    with _process(["docker-registry", "serve", folder / "config.yml"], log) as process:
        yield Registry(_wait(address, process, log)[1])


@contextmanager
def _bridge():
    """Make a network bridge for an engine's containers; "none" where that cannot be."""
    name = f"ims{secrets.token_hex(4)}"
    if not _link("add", name, "type", "bridge"):
        yield "none"
        return
    try:
        yield name
    finally:
        _link("delete", name)


def _link(*arguments):
    if shutil.which("ip") is None:
        return False
    command = ["ip", "link", *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _empty(engine):
    """Remove what would outlive the engine or keep it from ending: networks, containers."""
    if names := engine.run("ps", "--all", "--quiet", check=False).stdout.split():
        engine.run("rm", "--force", *names, check=False)
    engine.run("network", "prune", "--force", check=False)


@contextmanager
def _process(command, log):
    """Run a program; it ends with the block, and is killed should this process be."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        yield process
    finally:
        # unshare hands no signal on, so what it has started is told itself.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        with suppress(OSError):
            for pid in children.read_text().split() or [process.pid]:
                os.kill(int(pid), signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(condition, process, log):
    """Wait until a condition holds and give what it gave; CannotStartError if it will not."""
    end = time.monotonic() + _STARTED_IN
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > end:
            raise CannotStartError(log.read_text(errors="replace")[-2000:])
        time.sleep(0.05)
    return found


_KINDS = {"engine": (dockerd, Engine), "registry": (docker_registry, Registry)}


def share():
    """Make ready to share services among the workers of this pytest; nothing is started yet."""
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="imagesmith-tests-")
    os.environ[_OWNER] = str(os.getpid())


def unshare():
    """End what was started, and wait until it is gone."""
    folder = Path(os.environ[_FOLDER])
    for noted in folder.glob("*.json"):
        with suppress(ProcessLookupError):
            pid = json.loads(noted.read_bytes())["keeper"]
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            select.select([handle], [], [])
            os.close(handle)
    shutil.rmtree(folder, ignore_errors=True)


def shared(kind):
    """Give the engine or the registry that all tests share; CannotStartError if it will not be."""
    folder = Path(os.environ[_FOLDER])
    noted = folder / f"{kind}.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not noted.exists():
            _start_keeper(kind, noted)
    facts = json.loads(noted.read_bytes())
    if "problem" in facts:
        raise CannotStartError(facts["problem"])
    return _KINDS[kind][1](**facts["service"])


def _start_keeper(kind, noted):
    keeper = subprocess.Popen(
        [sys.executable, __file__, kind, str(noted.parent), os.environ[_OWNER]],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # an interruption from the keyboard is not for it
    )
    while not noted.exists():
        assert keeper.poll() is None, "the keeper of the tests' services has ended"
        time.sleep(0.05)


def keep(kind, folder, owner):
    """Hold a service until its owner ends, or until told to end."""
    woken, wake = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake, b"!"))
    noted = folder / f"{kind}.json"
    try:
        with os.fdopen(os.pidfd_open(owner)) as ended, _KINDS[kind][0](folder / kind) as service:
            facts = {field.name: getattr(service, field.name) for field in fields(_KINDS[kind][1])}
            _note(noted, {"keeper": os.getpid(), "service": facts})
            select.select([woken, ended], [], [])
    except CannotStartError as problem:
        _note(noted, {"keeper": os.getpid(), "problem": str(problem)})
    except ProcessLookupError:  # the owner is gone already
        pass
    shutil.rmtree(folder / kind, ignore_errors=True)
    if not Path(f"/proc/{owner}").exists():  # it was killed, so the last keeper clears up
        with suppress(OSError):
            noted.unlink()
            (folder / "lock").unlink()
        with suppress(OSError):
            folder.rmdir()


def _note(path, facts):
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(facts))
    beside.rename(path)


if __name__ == "__main__":
    keep(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
