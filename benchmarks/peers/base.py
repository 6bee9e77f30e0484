"""The base that peers' images stand on, made of Debian's packages under the name they expect.

It is what python:X.Y-slim is (Debian 12 with apt, Python and pip, no docs), and knows this host's
certificates and package index as a company's own copy of that image would. Nothing of the host is
kept but in the engine of the benchmarks.
"""

import os
import platform
import shlex
import ssl
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.tabular import KEPT, PATIENCE, Bench, ran

OURS = "closure-base:3.11"
NAME = "python:3.11-slim"
UV = "uv"  # an image that has nothing but the program, for a Dockerfile to mount

_DISTRIBUTIONS = "/usr/local/lib/python3.11/dist-packages"
_CERTIFICATES = "/usr/local/share/host.pem"
_KNOW_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OF_HOST = ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "http_proxy", "https_proxy")
_PACKAGES = "--include=python3.11,python3-distutils,ca-certificates,netbase,tzdata,usr-is-merged"
_NOT_READ = ("doc", "info", "locale", "man")
_PIP = '#!/bin/sh\nexec python3.11 -m pip "$@"\n'
# Its builds reach the network through the host's, since its bridge leads nowhere, and no
# Dockerfile frontend is pulled: the engine's own does.
_DOCKER = """#!/bin/sh
if [ "$1" = build ]; then
    shift
    find "$PWD" -name Dockerfile -exec sed -i '/^# *syntax *=/d' {{}} +
    set -- build --network host "$@"
fi
exec {docker} "$@"
"""


def nothing_but_bases(at: Bench, ours: Path) -> None:
    """Leave the engine with the bases, ours (an archive) and that of peers, and no build cache."""
    at.engine.run("builder", "prune", "--all", "--force", timeout=PATIENCE)
    at.empty(ours)
    variables = dict.fromkeys(_KNOW_CERTIFICATES, _CERTIFICATES)
    variables |= {name: os.environ[name] for name in _OF_HOST if name in os.environ}
    variables |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    changes = [f"--change=ENV {name}={shlex.quote(value)}" for name, value in variables.items()]
    at.engine.run("import", *changes, "--change=CMD python", _root(), NAME, timeout=PATIENCE)
    at.engine.run("tag", NAME, f"python:{platform.python_version()}-slim")
    at.engine.run("import", _uv(at.folder / "uv.tar"), UV)


def size(at: Bench, image: str) -> int:
    """Give an image's bytes in the engine, uncompressed."""
    return int(at.engine.run("image", "inspect", "--format={{.Size}}", image).stdout)


def peers_docker(at: Bench) -> dict[str, str]:
    """Give the environment in which a peer finds the docker command, and with it the engine."""
    programs = at.folder / "programs"
    programs.mkdir(exist_ok=True)
    command = programs / "docker"
    command.write_text(_DOCKER.format(docker=at.engine.cli))
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(at.folder),
        "DOCKER_HOST": at.engine.host,
        "DOCKER_BUILDKIT": "1",
    }


def pins(requirements: Path) -> list[str]:
    """Give what is in a lock's requirements, ``name==version``."""
    lines = requirements.read_text().splitlines()
    return [line.split()[0] for line in lines if line[:1].isalnum()]


def peers_environment(name: str, *packages: str) -> Path:
    """Give the folder of programs of an environment that has these packages; made once."""
    prefix = KEPT / name
    if not (prefix / "whole").exists():
        ran([sys.executable, "-m", "venv", "--clear", prefix])
        ran([prefix / "bin" / "pip", "install", "--quiet", *packages])
        (prefix / "whole").touch()
    return prefix / "bin"


def _uv(archive: Path) -> Path:
    with tarfile.open(archive, "w") as tar:
        tar.add(Path(sys.executable).with_name("uv"), "uv")
    return archive


def _root() -> Path:
    """Give the base's files as an archive; made once."""
    kept = KEPT / "python-slim.tar"
    if not kept.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial.tar")
        with tempfile.TemporaryDirectory() as name:
            hooks = [f"--customize-hook={hook}" for hook in _hooks(Path(name))]
            left_out = [f"--dpkgopt=path-exclude=/usr/share/{kind}/*" for kind in _NOT_READ]
            target = ("--format=tar", "bookworm", partial)
            merged = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"  # else perl comes along
            ran(["mmdebstrap", "--variant=apt", merged, _PACKAGES, *left_out, *hooks, *target])
        partial.rename(kept)
    return kept


def _hooks(folder: Path) -> list[str]:
    """Give what is done in the base, "$1": pip, the names of Python, the host's certificates."""
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--target", folder / "pip")
    ran([*install, "pip", "setuptools", "wheel"])
    (folder / "pip.sh").write_text(_PIP)
    certificates = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    assert certificates
    python = "/usr/local/bin/python"
    return [
        f'mkdir -p "$1{_DISTRIBUTIONS}"',
        f'cp -a {folder}/pip/. "$1{_DISTRIBUTIONS}/"',
        f'install -m 755 {folder}/pip.sh "$1/usr/local/bin/pip"',
        f'ln -s /usr/bin/python3.11 "$1{python}" && ln -s python "$1{python}3"',
        'rm -f "$1/usr/lib/python3.11/EXTERNALLY-MANAGED"',
        f'install -m 644 {certificates} "$1{_CERTIFICATES}"',
    ]
