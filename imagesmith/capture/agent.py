"""The agent: loads the target in the user's own interpreter, pickles it and looks around there.

Run as ``__main__`` of a process of its own, as by ``PYTHON agent.py REQUEST.json``, with
PYTHONHASHSEED=0, PYTHONDONTWRITEBYTECODE=1, and neither its folder nor the current one on sys.path.
One file, standard library only, Python 3.8 or later; it imports nothing of imagesmith. The user's
code may print what it likes: the results are files.

The request (JSON):
    out           an empty folder for the results
    project       the folder that imagesmith works in, and the agent too
    text          the target as the user wrote it
    root          the folder that goes first on sys.path
    module        the module to import
    attribute     the object in it, dotted
    file          the module's file where the user named a file, else null
    input_type    bytes, integers, floats, doubles or strings
    strings       what a string arrives as: str or bytes
    samples       a list of inputs, or null
    batch         the path of runtime/batch.py
    cloudpickle   the folder of a cloudpickle for environments that have none
    owned         import names that conda's packages bring, some of them without metadata
    task          one of the three below
    captured      where the other tasks find the results of "capture", null for that itself

The results, in ``out``: result.json, which holds ``findings``, [{code, severity, subject, message,
remedy}, …], and without errors what the task gives:
    capture       func.pkl, modules/, and
        cloudpickle   the version that pickled
        modules       import names of the needed modules that distributions bring
        recorded      {distribution: version}: what objects say that they were pickled by
        environment   what imagesmith.capture.environment.Environment reads
        prefix        the folder of the interpreter's environment
        answers       {"batch": [text, …], "single": [text, …]}, or null
        seen          {sites, files, variables}, or null where the target reached outside
        path          sys.path as the target left it
        carried       {path below modules/: the file that was copied there}
    pickle        func.pkl, by loading the target once more
    ask           what unpickling that of "capture", where nothing else was loaded, and calling it
                  shows to be needed: more files in the modules/ of "capture", and
        modules       as above, those that the user's own code imported
        called        as above, those that were loaded during the call, by whomever
        answers       as above, the pickle's
"""

from __future__ import annotations

import _compat_pickle
import ast
import builtins
import codecs
import copyreg
import csv
import dis
import filecmp
import hashlib
import importlib
import importlib.machinery
import importlib.util
import json
import mmap
import os
import pathlib
import pickle
import pickletools
import pkgutil
import platform
import re
import shutil
import sys
import sysconfig
import threading
import traceback
import types
import uuid
import zipfile
from collections import ChainMap, deque
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from email import message_from_string
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, NamedTuple
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from importlib import metadata

Json = Dict[str, Any]

MODULES = "/model/modules"  # where the image has the local modules
ENVIRONMENT = f"/opt/env/lib/python{sys.version_info.major}.{sys.version_info.minor}"
PROTOCOL = 5
PICKLE = "func.pkl"
_PICKLE_HERE = "func.here.pkl"  # the same with paths of this machine, where those make a difference
_BATCH = "_imagesmith_batch"
_DEEPEST = 10  # how far the way to what cannot be pickled is followed
OLDEST_CLOUDPICKLE = (2, 0)  # the first that can pickle a module by value


def main(request_path: str) -> None:
    """Answer one request."""
    with open(request_path, encoding="utf-8") as file:
        request = json.load(file)
    findings: list[Json] = []
    try:
        result = work(request, findings)
    except Stop as stop:
        result = {"findings": [*findings, stop.finding]}
    except OSError as fault:
        result = {"findings": [*findings, _unreadable(request, fault)]}
    write_whole(os.path.join(request["out"], "result.json"), json.dumps(result))
    if any(not t.daemon for t in threading.enumerate() if t is not threading.main_thread()):
        # The target's own threads would keep this process for ever.
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the target may have closed or replaced them
                stream.flush()
        os._exit(0)


def write_whole(path: str, text: str) -> None:
    """Write a file that is whole if it is there: the target's threads may end us at any time."""
    with open(path + ".partial", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".partial", path)


@contextmanager
def users_code() -> Iterator[None]:
    """Run the user's code; a process that it forked ends where it leaves that code."""
    ours = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != ours:
            os._exit(0)


def work(request: Json, findings: list[Json]) -> Json:
    """Do what the request asks for; findings that do not stop the work are added to the list."""
    return ask_pickle(request, findings) if request["task"] == "ask" else capture(request, findings)


def capture(request: Json, findings: list[Json]) -> Json:
    """Load the target, pickle it, and look at what it needs."""
    places = Places()
    # Before the target can change the path: what is installed, and who brings which module.
    if request["captured"]:
        distributions = read_captured(request)["environment"]["distributions"]
    else:
        distributions = list(read_distributions(sys.path, places.sites, findings))
    owners = Owners(distributions, request["owned"])
    cloudpickle = import_cloudpickle(request["cloudpickle"])
    load_from_source(places)
    watch = Watch()
    function = load(request, owners)
    watch.end_of_loading()
    local = local_file(request["module"], places)
    pickler = dump(request, function, local, cloudpickle, places)
    if request["task"] == "pickle":
        return {"findings": findings}
    asker = asker_of(request, function, findings)
    answers = asker.answers() if asker else None
    findings += asker.findings if asker else []
    modules = Modules(request["out"], findings, {})
    needs = Needs(modules, places, owners, findings)
    if local:
        modules.carry_module(request["module"], local)
    findings += paths_held(request, modules, pickler.paths)
    recorded = audit_pickle(request, needs, findings)
    for wanted in pickler.imports:
        needs.want(wanted)
    needs.close()
    return {
        "findings": findings,
        "cloudpickle": cloudpickle.__version__,
        "modules": sorted(needs.claims),
        "recorded": recorded,
        "environment": {**read_interpreter(), "distributions": distributions},
        "prefix": sys.prefix,
        "answers": answers,
        "seen": watch.seen(places, request, modules.carried.values()),
        "path": sys.path,
        "carried": modules.carried,
    }


def read_captured(request: Json) -> Json:
    """Read the result of the capture that the request goes back to."""
    with open(os.path.join(request["captured"], "result.json"), encoding="utf-8") as file:
        captured: Json = json.load(file)
    return captured


def ask_pickle(request: Json, findings: list[Json]) -> Json:
    """Load the pickle and call it, and look at what that imports and reads.

    Modules that only the target's own loading would have loaded cannot hide any here.
    """
    started = set(sys.modules)
    captured = read_captured(request)
    places = Places()
    owners = Owners(captured["environment"]["distributions"], request["owned"])
    import_cloudpickle(request["cloudpickle"])
    sys.path[:] = captured["path"]
    sys.argv[:] = [request["file"] or request["module"]]
    watch = Watch()
    imports = Imports(owners)
    function = unpickle(request)
    asker = asker_of(request, function, findings)
    loaded = set(sys.modules)
    answers = asker.answers() if asker else None
    findings += [_answers_no_more(request, fault) for fault in (asker.findings if asker else [])]
    called = {owners.claim(name) for name in set(sys.modules) - loaded} - {None}
    modules = Modules(request["captured"], findings, captured["carried"])
    needs = Needs(modules, places, owners, findings)
    for wanted in [*imports.found, *local_modules(places, set(sys.modules) - started)]:
        needs.want(wanted)
    needs.close()
    findings += carry_files_read(request, modules, watch, places)
    findings += variables_read(request, owners)
    return {
        "findings": findings,
        "modules": sorted(needs.claims),
        "called": sorted(map(str, called)),
        "answers": answers,
    }


# --- Findings ---------------------------------------------------------------------------------


class Stop(Exception):  # noqa: N818
    """The agent cannot go on."""

    def __init__(self, finding: Json) -> None:
        super().__init__(finding["message"])
        self.finding = finding


def error(code: str, subject: str, message: str, remedy: str) -> Json:
    """Make a finding that stops the walk."""
    return _finding(code, "error", subject, message, remedy)


def warning(code: str, subject: str, message: str, remedy: str) -> Json:
    """Make a finding that does not."""
    return _finding(code, "warning", subject, message, remedy)


def _finding(code: str, severity: str, subject: str, message: str, remedy: str) -> Json:
    texts = {
        "code": code,
        "severity": severity,
        "subject": subject,
        "message": message,
        "remedy": remedy,
    }
    # A file's name may hold what is no text.
    return {key: text.encode("utf-8", "backslashreplace").decode() for key, text in texts.items()}


def said(exception: BaseException) -> str:
    """Give an exception as one line: its type, and what it says."""
    try:
        text = " ".join(str(exception).split())
    except Exception:  # an exception of the user's own, which cannot say what it is
        text = ""
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__


def print_traceback(exception: BaseException) -> None:
    """Print a traceback without the agent's own frames and those of the import machinery."""
    frames = exception.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    traceback.print_exception(type(exception), exception, frames)


def _is_ours(filename: str) -> bool:
    machinery = (importlib.__file__, importlib.util.__file__)
    return filename == __file__ or filename.startswith("<frozen ") or filename in machinery


# --- Where things lie -------------------------------------------------------------------------


class Places:
    """The interpreter's folders; files outside them are the user's own: local."""

    def __init__(self) -> None:
        paths = sysconfig.get_paths()
        named = [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages")]
        self.sites = _both_spellings([*named, paths["purelib"], paths["platlib"]])
        self.stdlib = _both_spellings([paths["stdlib"], os.path.dirname(os.__file__)])

    def is_local(self, path: str | None) -> bool:
        """Say whether a file is neither the interpreter's own nor installed."""
        if not path or path.startswith("<"):
            return False
        return not _inside(path, self.sites) and not _inside(path, self.stdlib)

    def local_files(self) -> dict[str, str]:
        """Map the file of each local module loaded to its path below modules/."""
        loaded = [(name, getattr(module, "__file__", None)) for name, module in _loaded()]
        return {
            os.path.abspath(file): _module_path(name, file)
            for name, file in loaded
            if isinstance(file, str) and self.is_local(file)
        }


class Paths(NamedTuple):
    """What stands in a pickle for the paths of source files, and of others."""

    of_code: Callable[[str], str]
    of_file: Callable[[str], str]


def paths_in_image(places: Places) -> Paths:
    """Give the paths that files have in the image; those that it will not have stay as they are."""
    local = places.local_files()

    def of_file(path: str) -> str:
        found = corresponding(path, local.items())
        return f"{MODULES}/{found[0][1]}" if found and places.is_local(path) else path

    def of_code(path: str) -> str:
        if path.startswith("<"):
            return path
        path = os.path.abspath(path)
        for folders, above in ((places.sites, "/site-packages"), (places.stdlib, "")):
            folder = _inside(path, folders)
            if folder:
                return f"{ENVIRONMENT}{above}/{_slashed(os.path.relpath(path, folder))}"
        return f"{MODULES}/{local.get(path, os.path.basename(path))}"

    return Paths(of_code, of_file)


def _both_spellings(folders: Iterable[str]) -> list[str]:
    """Give each folder as it is written and as links lead, the innermost first."""
    spelled = {spell(f) for f in folders for spell in (os.path.abspath, os.path.realpath)}
    return sorted(spelled, key=len, reverse=True)


def _inside(path: str, folders: Iterable[str]) -> str | None:
    """Give the first of the folders that a path lies in, or None."""
    path = os.path.abspath(path)
    return next((f for f in folders if path.startswith(f.rstrip(os.sep) + os.sep)), None)


def is_below(path: str, folder: str) -> bool:
    """Say whether a path is that of a folder, or of something in it."""
    return (path + os.sep).startswith(folder.rstrip(os.sep) + os.sep)


def _slashed(path: str) -> str:
    return path.replace(os.sep, "/")


def _module_path(name: str, file: str) -> str:
    """Give the path of a module below the folder that is on sys.path."""
    path = name.replace(".", "/")
    base = os.path.basename(file)
    return f"{path}/{base}" if base.startswith("__init__.") else _beside(path, base)


def _beside(path: str, base: str) -> str:
    """Give the module's path the suffix of its file (.py, .cpython-311-x86_64-linux-gnu.so)."""
    return path + base[base.index(".") :]


def _loaded() -> Iterator[Any]:
    """Give the names and modules loaded; a copy, since looking at a module can load others."""
    return ((n, m) for n, m in list(sys.modules.items()) if isinstance(m, types.ModuleType))


# --- What the target looks at while it loads ----------------------------------------------------

# Audit events (PEP 578) of reaching outside: what comes back can differ without any file changing.
_OUTSIDE = {
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "subprocess.Popen",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
}


class Watch:
    """Hears which files are opened and which environment variables are asked for."""

    def __init__(self) -> None:
        self.opened: dict[str, bool] = {}  # and whether it was named from the working folder
        self._loading = True
        self._outside = False
        _Listening.asked.clear()
        os.environ.__class__ = _Listening
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: Any) -> None:
        if event == "open":
            path, _mode, flags = args
            if isinstance(path, (str, bytes)) and flags & os.O_ACCMODE != os.O_WRONLY:
                name = os.fsdecode(path)
                self.opened[os.path.abspath(name)] = not os.path.isabs(name)
        elif event == "ctypes.dlopen" and isinstance(args[0], str) and os.path.isabs(args[0]):
            self.opened[args[0]] = False
        elif event in _OUTSIDE and self._loading:
            self._outside = True

    def end_of_loading(self) -> None:
        """Go on listening to what is read, but no longer to what reaches outside."""
        self._loading = False

    def seen(self, places: Places, request: Json, carried: Iterable[str]) -> Json | None:
        """Say what the target depends on, and what is carried; None if it reached outside."""
        if self._outside:
            return None
        return {
            "sites": sorted({os.path.realpath(s) for s in places.sites if os.path.isdir(s)}),
            "files": sorted({*self.files(places, request), *filter(os.path.isfile, carried)}),
            "variables": sorted(_Listening.asked),
        }

    def files(self, places: Places, request: Json) -> dict[str, bool]:
        """Give the files that were read, without those of the interpreter and the agent's own."""
        own = [os.path.dirname(os.path.abspath(__file__)), request["batch"], request["out"]]
        own.append(request["captured"] or request["out"])
        return {
            path: relative
            for path, relative in list(self.opened.items())
            if _matters(path, places, request["root"]) and not path.startswith(tuple(own))
        }


class _Listening(type(os.environ)):  # type: ignore[misc]
    """os.environ, which remembers the names that were asked for."""

    asked: dict[str, set[str]] = {}  # noqa: RUF012 (by modules of these names)

    def __getitem__(self, key: str) -> str:
        if isinstance(key, str):
            frame: Any = sys._getframe(1)
            while frame.f_back and frame.f_globals.get("__name__") in ("os", "collections.abc"):
                frame = frame.f_back
            self.asked.setdefault(key, set()).add(str(frame.f_globals.get("__name__")))
        value: str = super().__getitem__(key)
        return value


def _matters(path: str, places: Places, root: str) -> bool:
    if not places.is_local(path) or not os.path.isfile(path):
        return False
    aside = ["/proc", "/sys", "/dev", sys.prefix, sys.base_prefix]
    return not _inside(path, [folder for folder in aside if not is_below(root, folder)])


# --- The environment ----------------------------------------------------------------------------


def read_interpreter() -> Json:
    """Describe the interpreter."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": sysconfig.get_platform(),
        "glibc": _glibc(),
        "kind": kind_of(sys.prefix),
    }


def _glibc() -> str | None:
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (AttributeError, ValueError, OSError):  # no Unix, or another C library
        return None
    return version if name == "glibc" else None


def kind_of(prefix: str) -> str:
    """Say what made the environment in a folder: venv, virtualenv, conda, or system."""
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        return "conda"
    config = os.path.join(prefix, "pyvenv.cfg")
    if not os.path.isfile(config):
        return "system"
    with open(config, encoding="utf-8", errors="replace") as file:
        made_by_virtualenv = re.search(r"^virtualenv\s*=", file.read(), re.MULTILINE)
    return "virtualenv" if made_by_virtualenv else "venv"


def read_distributions(paths: list[str], sites: list[str], findings: list[Json]) -> Iterator[Json]:
    """Describe every distribution in these folders, those in no ``sites`` as editable.

    Of two with one name, the first counts. imagesmith reads an environment that it does not run
    with this, too.
    """
    from importlib import metadata  # half of what starting the agent would take

    first: dict[str, Any] = {}
    for distribution in metadata.distributions(path=paths):
        described = _described(distribution, sites, findings)
        if described is None:
            continue
        found = described["version"], os.path.realpath(str(distribution.locate_file("")))
        known = first.setdefault(described["name"], found)
        if known is found:
            yield described
        elif known[1] == found[1] and known != found:
            findings.append(_several(described["name"], known, found))


def _several(name: str, first: Any, other: Any) -> Json:
    return warning(
        "capture.several-versions",
        name,
        f"{first[1]} says that it has {name} {first[0]}, and {other[0]} as well; {first[0]} counts",
        f"install it anew: pip uninstall {name} until it is gone, then pip install {name}",
    )


def _described(
    distribution: metadata.Distribution, sites: list[str], findings: list[Json]
) -> Json | None:
    try:
        return _clean(_describe(distribution, sites))
    except Exception as fault:
        findings.append(_broken(distribution, said(fault)))
        return None


def _clean(described: Json) -> Json:
    """Give it back; ValueError if a text in it has control characters or no UTF-8."""
    texts = (described[key] for key in ("name", "version", "installer", "direct_url"))
    for text in (*filter(None, texts), *described["requires"], *described["modules"]):
        if not text.isprintable():
            raise ValueError(f"{text!a} in its metadata is not printable")
    return described


def _describe(distribution: metadata.Distribution, sites: list[str]) -> Json:
    known = _headers(distribution)
    name, version = known["Name"], known["Version"]
    if not name or not version:
        raise ValueError("its metadata lacks %s" % ("a version" if name else "a name"))
    required = known.get_all("Requires-Dist") or _of_egg(distribution)
    files = list(filter(None, csv.reader((distribution.read_text("RECORD") or "").splitlines())))
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    outside = not _inside(os.path.join(str(distribution.locate_file("")), name), sites)
    editable = bool(origin.get("dir_info", {}).get("editable")) or outside
    return {
        "name": re.sub(r"[-_.]+", "-", name).lower(),
        "version": version,
        "requires": [" ".join(line.split()) for line in required],
        "modules": _brought(distribution, [] if editable else files, name),
        "direct_url": _reference(origin) if "url" in origin else None,
        "editable": editable,
        "installer": (distribution.read_text("INSTALLER") or "").strip() or None,
        "requested": distribution.read_text("REQUESTED") is not None,
        "size": _size(files),
    }


def _headers(distribution: metadata.Distribution) -> Any:
    """Give the metadata's headers; parsing the text below them, a README, takes far longer."""
    text = distribution.read_text("METADATA")
    if text is None:
        return distribution.metadata
    return message_from_string(text.partition("\n\n")[0])


def _of_egg(distribution: metadata.Distribution) -> Iterable[str]:
    """Give the requirements that an egg-info keeps in a file of their own."""
    return (distribution.requires or ()) if distribution.read_text("requires.txt") else ()


def _size(files: list[list[str]]) -> int:
    """Add up the bytes of the files that RECORD gives the sizes of."""
    sizes = (row[2] for row in files if len(row) > 2)
    return sum(int(size) for size in sizes if size.isascii() and size.isdigit())


def _broken(distribution: metadata.Distribution, reason: str) -> Json:
    path = str(getattr(distribution, "_path", "a distribution"))
    return warning(
        "capture.broken-metadata",
        path,
        f"the distribution in {path} is left out: {reason}",
        "install it again, or remove that folder",
    )


def _reference(origin: Json) -> str:
    """Give a direct_url.json (PEP 610) as the URL of a direct reference (PEP 440)."""
    url = _without_secrets(origin["url"])
    vcs = origin.get("vcs_info", {})
    if vcs:
        url = "{}+{}@{}".format(vcs["vcs"], url, vcs["commit_id"])
    below = origin.get("subdirectory")
    return f"{url}#subdirectory={below}" if below else url


def _without_secrets(url: str) -> str:
    """Strip credentials, query and fragment from a URL."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _brought(distribution: metadata.Distribution, files: list[list[str]], name: str) -> list[str]:
    """Give the import names that a distribution brings with these files."""
    if files:
        return sorted(claimed(row[0] for row in files))
    listed = (distribution.read_text("top_level.txt") or "").split()
    return sorted(one.replace("/", ".") for one in listed) or [name.replace("-", "_")]


def claimed(paths: Iterable[str]) -> set[str]:
    """Give the import names in a list of files: top-level, or dotted in namespace packages.

    A name ends at the first package with an __init__, or at the module: what lies above is a
    namespace (PEP 420), which many distributions share.
    """
    modules = set(filter(None, map(_module_parts, paths)))
    packages = {parts[:-1] for parts in modules if parts[-1] == "__init__"}
    claimed = set()
    for parts in modules:
        above = (parts[:depth] for depth in range(1, len(parts)))
        claimed.add(".".join(next((p for p in above if p in packages), parts)))
    return claimed


def _module_parts(path: str) -> Any:
    """Give a module's file as the parts of its name, or None if it is no module's file."""
    if not path.endswith(("py", "so", "pyd")):
        return None
    *folders, base = path.split("/")
    stem, _, suffixes = base.partition(".")
    parts = (*folders, stem)
    is_module = bool(suffixes) and all(p.isidentifier() for p in parts)
    return parts if is_module and parts != ("__init__",) else None


class Owners:
    """Which installed distribution brings which module; editable ones are the user's own."""

    def __init__(self, distributions: Iterable[Json], owned: Iterable[str]) -> None:
        installed = [d for d in distributions if not d["editable"]]
        self._claims = {module for d in installed for module in d["modules"]} | {*owned}
        self._namespaces = {above for claim in self._claims for above in _above(claim)}

    def claim(self, name: str) -> str | None:
        """Give the import name, this one or one above it, that a distribution brings, or None."""
        return next((n for n in (name, *_above(name)) if n in self._claims), None)

    def is_namespace(self, name: str) -> bool:
        """Say whether a name is only a namespace that distributions share."""
        return name in self._namespaces

    def is_users(self, name: str) -> bool:
        """Say whether a module that is loaded is the user's own."""
        ours = _top(name) in ("cloudpickle", _BATCH)
        return not (ours or is_standard(name) or self.claim(name))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _above(name: str) -> Iterator[str]:
    """Give the packages that a dotted name is in, the innermost first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _standard_names() -> set[str]:
    if sys.version_info >= (3, 10):
        return {"__main__", *sys.stdlib_module_names}
    folder = os.path.dirname(os.__file__)
    found = pkgutil.iter_modules([folder, os.path.join(folder, "lib-dynload")])
    return {"__main__", *sys.builtin_module_names, *(module.name for module in found)}


STANDARD = _standard_names()


def is_standard(name: str) -> bool:
    """Say whether a module is of the standard library."""
    return _top(name) in STANDARD


# --- Loading ------------------------------------------------------------------------------------


def import_cloudpickle(fallback: str) -> Any:
    """Import the environment's cloudpickle, else the one in the folder given."""
    try:
        cloudpickle = importlib.import_module("cloudpickle")
    except ImportError:
        cloudpickle = _import_package("cloudpickle", fallback)
    version = tuple(map(int, re.findall(r"\d+", cloudpickle.__version__)[:2]))
    if version < OLDEST_CLOUDPICKLE:
        raise Stop(
            error(
                "capture.cloudpickle-old",
                "cloudpickle",
                f"the environment has cloudpickle {cloudpickle.__version__}",
                "install cloudpickle 2.0 or later there, or remove it: then a newer one is used",
            )
        )
    return cloudpickle


def _import_package(name: str, folder: str) -> Any:
    return _import_file(name, os.path.join(folder, "__init__.py"), [folder])


def _import_file(name: str, path: str, inner: list[str] | None = None) -> Any:
    """Import a file under a name, with nothing else of its folder."""
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inner)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_from_source(places: Places) -> None:
    """Make local modules load from source always.

    Which constants are one object differs between compiled source and byte code read back, and
    the pickle with it.
    """
    loader = importlib.machinery.SourceFileLoader
    from_cache = loader.get_code

    def get_code(self: Any, fullname: str) -> Any:
        path = self.get_filename(fullname)
        if not places.is_local(path):
            return from_cache(self, fullname)
        return self.source_to_code(self.get_data(path), path)

    loader.get_code = get_code  # type: ignore[method-assign]


def load(request: Json, owners: Owners) -> Callable[[Any], Any]:
    """Import the target's module and find the function in it."""
    if request["file"]:
        _refuse_shadow(request, owners)
    sys.path.insert(0, request["root"])
    sys.argv[:] = [request["file"] or request["module"]]
    found = _import_target(request)
    for name in request["attribute"].split("."):
        found = _attribute(request, found, name)
    if not callable(found):
        raise Stop(
            error(
                "capture.not-callable",
                request["text"],
                "{} is no function: it is {}".format(request["attribute"], _a(found)),
                "name something that can be called with a batch of inputs",
            )
        )
    function: Callable[[Any], Any] = found
    return function


def _attribute(request: Json, holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name)
    except AttributeError:
        raise Stop(_no_attribute(request, holder, name)) from None
    except Exception as failure:  # a property, or a module's own __getattr__
        print_traceback(failure)
        raise Stop(_failed(request, failure)) from None


def _refuse_shadow(request: Json, owners: Owners) -> None:
    name = _top(request["module"])
    if is_standard(name):
        owner = "the standard library"
    elif owners.claim(name) or owners.is_namespace(name):
        owner = "an installed distribution"
    else:
        return
    raise Stop(_shadow(request, name, owner))


def _shadow(request: Json, name: str, owner: str) -> Json:
    return error(
        "capture.shadow",
        request["file"],
        f"the module {name} would stand in the way of the {name} of {owner}",
        "give the file another name",
    )


def _import_target(request: Json) -> Any:
    name = request["module"]
    try:
        with users_code():
            module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        if isinstance(failure, ModuleNotFoundError) and failure.name in (name, *_above(name)):
            raise Stop(_no_module(request)) from None
        print_traceback(failure)
        raise Stop(_failed(request, failure)) from None
    file = request["file"]
    if file and not os.path.samefile(getattr(module, "__file__", None) or os.devnull, file):
        raise Stop(_shadow(request, name, str(getattr(module, "__file__", None))))
    return module


def _unreadable(request: Json, fault: OSError) -> Json:
    return error(
        "capture.unreadable",
        fault.filename or request["text"],
        f"a file that the capture needs cannot be read or written: {said(fault)}",
        "see that it is there and may be read, and stays while the target is loaded",
    )


def _no_module(request: Json) -> Json:
    return error(
        "capture.no-module",
        request["text"],
        "there is no module {} in {}, nor in the environment {}".format(
            request["module"], request["root"], sys.prefix
        ),
        "name the file instead (path/file.py:function), or run imagesmith in the folder it is in",
    )


def _failed(request: Json, failure: BaseException) -> Json:
    runs = "python " + os.path.basename(request["file"] or "-m " + request["module"])
    remedy = f"mend it so that `{runs}` runs it (the traceback is above)"
    if isinstance(failure, AttributeError) and "<module '__main__'" in str(failure):
        remedy = (
            "it was pickled by a script that was run, whose classes only that script finds again:"
            " move the class into a module, import it from there, and pickle once more"
        )
    return error(
        "capture.target-failed",
        request["text"],
        f"loading it raised {said(failure)}{_place(failure)}",
        remedy,
    )


def _place(failure: BaseException) -> str:
    """Give the file and line of the user's own that an exception came from."""
    if isinstance(failure, SyntaxError) and failure.filename:
        return f" ({failure.filename}:{failure.lineno})"
    places = Places()
    frames = traceback.extract_tb(failure.__traceback__)
    users = [f for f in frames if places.is_local(f.filename) and not _is_ours(f.filename)]
    return f" ({users[-1].filename}:{users[-1].lineno})" if users else ""


def _no_attribute(request: Json, holder: Any, name: str) -> Json:
    near = get_close_matches(name, [n for n in dir(holder) if not n.startswith("__")])
    return error(
        "capture.no-attribute",
        request["text"],
        "{} has no {}".format(getattr(holder, "__name__", _a(holder)), name),
        "did you mean {}?".format(" or ".join(near)) if near else "name a function that is there",
    )


def _a(thing: Any) -> str:
    kind = type(thing)
    plain = kind.__module__ == "builtins"
    return "a %s" % (kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}")


# --- Pickling -----------------------------------------------------------------------------------


_IMPORTS = ("import_module", "__import__")  # the functions that import what they are given
_IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError"}
_LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD", "LOAD_DEREF", "LOAD_FAST"}


class Import(NamedTuple):
    """An import that was found: the module's name, who imports it, and whether it may fail."""

    name: str
    by: str
    optional: bool = False


def dump(request: Json, function: Any, local: str | None, cloudpickle: Any, places: Places) -> Any:
    """Write func.pkl and give its pickler; the same function gives the same bytes.

    ``local`` is the file of the target's module where that is to be pickled by value.
    """
    _fix_class_ids(cloudpickle, local)
    if local:
        cloudpickle.register_pickle_by_value(sys.modules[request["module"]])
    in_image = pickler_class(cloudpickle, paths_in_image(places))
    pickler = _dump(request, function, PICKLE, in_image)
    if pickler.finds_files and request["task"] == "capture":
        _dump(request, function, _PICKLE_HERE, pickler_class(cloudpickle, Paths(str, str)))
    return pickler


def _dump(request: Json, function: Any, name: str, make: Any) -> Any:
    # An extension code stands for a module's attribute, in this process only.
    codes = copyreg._extension_registry  # type: ignore[attr-defined]
    known = dict(codes)
    codes.clear()
    try:
        with open(os.path.join(request["out"], name), "wb") as file:
            pickler = make(file)
            pickler.dump(function)
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        raise Stop(_unpicklable(request, offender(function, make), failure)) from None
    finally:
        codes.update(known)
    return pickler


def local_file(name: str, places: Places) -> str | None:
    """Give the file of a loaded module if it is the user's own, else None."""
    file = getattr(sys.modules[name], "__file__", None)
    return file if isinstance(file, str) and places.is_local(file) else None


def _fix_class_ids(cloudpickle: Any, source_file: str | None) -> None:
    """Let cloudpickle number the classes that it pickles by value, instead of drawing uuids.

    The numbers start from the target's source: another source gives other classes.
    """
    source = b""
    if source_file:
        with open(source_file, "rb") as file:
            source = file.read()
    origin = uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(source).hexdigest())
    ids = types.SimpleNamespace(count=0)

    def uuid4() -> uuid.UUID:
        ids.count += 1
        return uuid.uuid5(origin, str(ids.count))

    cloudpickle.cloudpickle.uuid = types.SimpleNamespace(uuid4=uuid4)


def pickler_class(cloudpickle: Any, paths: Paths) -> Any:
    """Derive a pickler that writes other paths for ours, and notes what code imports.

    The paths are those of code and of modules, and pathlib's objects.
    """
    base = cloudpickle.CloudPickler
    reduce_code = base.dispatch_table[types.CodeType]
    reduce_module = base.dispatch_table[types.ModuleType]
    subimport = cloudpickle.cloudpickle.subimport
    known: dict[str, str] = {}  # equal paths must be one object: pickles show identity

    def moved(path: str) -> str:
        return known.setdefault(path, paths.of_code(path))

    class Pickler(base):  # type: ignore[misc, valid-type]
        def __init__(self, file: Any) -> None:
            self.imports: dict[Import, None] = {}
            self.paths: set[str] = set()
            self.finds_files = False  # whether it asks for the place of its source, or holds a path
            self._importers = set(_IMPORTS)
            ours = {
                types.CodeType: self._reduce_code,
                types.ModuleType: by_name,
                pathlib.PosixPath: self._reduce_path,
            }
            # Read by the C pickler when it is initialised, and not again.
            self.dispatch_table = ChainMap(ours, base.dispatch_table)
            super().__init__(file, protocol=PROTOCOL)

        def _reduce_code(self, code: types.CodeType) -> Any:
            self.imports.update(dict.fromkeys(imports_of_code(code, self._importers)))
            self.finds_files |= "__file__" in code.co_names
            return reduce_code(code.replace(co_filename=moved(code.co_filename)))

        def _reduce_path(self, path: pathlib.Path) -> Any:
            self.paths.add(str(path))
            there = type(path)(paths.of_file(str(path)))
            self.finds_files |= there != path
            return there.__reduce_ex__(PROTOCOL)

        def _dynamic_function_reduce(self, func: Any) -> Any:
            self._importers |= {
                name
                for name, value in func.__globals__.items()
                if value is importlib.import_module or value is builtins.__import__
            }
            reduced = super()._dynamic_function_reduce(func)
            # What cloudpickle takes along of the module: for relative imports, and what is used.
            for names in (reduced[1][1], reduced[2][1]["__globals__"]):
                if isinstance(names.get("__file__"), str):
                    names["__file__"] = moved(func.__globals__["__file__"])
                if "__path__" in names:
                    names["__path__"] = [moved(path) for path in func.__globals__["__path__"]]
            return reduced

    def by_name(module: types.ModuleType) -> Any:
        # By value, as cloudpickle would have it for the target's own, is only for its functions.
        loaded = sys.modules.get(module.__name__) is module
        return (subimport, (module.__name__,)) if loaded else reduce_module(module)

    return Pickler


def imports_of_code(code: types.CodeType, importers: Iterable[str]) -> Iterator[Import]:
    """Give what a code object imports, not looking into those nested in it.

    ``importers`` are the names by which it may call importlib.import_module. What code imports
    that knows of ImportError may fail.
    """
    optional = not _IMPORT_ERRORS.isdisjoint(code.co_names)
    steps = [s for s in dis.get_instructions(code) if s.opname not in ("EXTENDED_ARG", "PUSH_NULL")]
    for before, last, step in zip(steps, steps[1:], steps[2:]):
        if step.opname == "IMPORT_NAME":  # the two before load the level, and the names
            base = _absolute(step.argval, before.argval, _package_of(code.co_filename))
            yield Import(base, code.co_name, optional)
            names = [name for name in last.argval or () if name != "*"]
            yield from (Import(f"{base}.{name}", code.co_name, True) for name in names)
        elif before.opname in _LOADS and before.argval in importers and _is_literal(last):
            package = step.argval if _is_literal(step) else _package_of(code.co_filename)
            yield Import(_resolved(last.argval, package), code.co_name, optional)


def _is_literal(step: dis.Instruction) -> bool:
    return step.opname == "LOAD_CONST" and isinstance(step.argval, str)


def _package_of(filename: str) -> str:
    """Give the package that code of this file makes its relative imports from."""
    for _, module in _loaded():
        if getattr(module, "__file__", None) == filename:
            return getattr(module, "__package__", None) or ""
    return ""


def _absolute(name: str, level: int, package: str) -> str:
    """Resolve a relative import (PEP 328)."""
    if level == 0:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])


def _resolved(name: str, package: str) -> str:
    """Resolve a name as importlib.import_module takes it."""
    relative = name.lstrip(".")
    return _absolute(relative, len(name) - len(relative), package)


def _unpicklable(request: Json, culprit: str, failure: BaseException) -> Json:
    return error(
        "capture.unpicklable",
        request["text"],
        "{} cannot be pickled, because {} ({})".format(
            request["attribute"], culprit, said(failure)
        ),
        "make that object inside the function when it is first called, or leave it out",
    )


class _Nowhere:
    """A file that forgets what it is given."""

    def write(self, data: Any) -> int:
        return len(data)


def offender(thing: Any, make: Any) -> str:
    """Say which part of an object cannot be pickled: ``its global LOCK is a _thread.lock``.

    ``make`` makes a pickler.
    """
    way: list[str] = []
    seen = {id(thing)}
    while len(way) < _DEEPEST:
        for step, part in _parts(thing):
            if id(part) not in seen and not _pickles(part, make):
                seen.add(id(part))
                thing = part
                way.append(step)
                break
        else:
            break
    return f"its {' -> '.join(way)} is {_a(thing)}" if way else f"it is {_a(thing)}"


def _pickles(thing: Any, make: Any) -> bool:
    try:
        make(_Nowhere()).dump(thing)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    return True


def _parts(thing: Any) -> Iterator[Any]:
    """Give the parts of an object that are pickled with it, each with a name for it."""
    if isinstance(thing, types.FunctionType):
        yield from _parts_of_function(thing)
    elif isinstance(thing, types.MethodType):
        yield from (("object", thing.__self__), ("function", thing.__func__))
    elif isinstance(thing, dict):
        yield from ((f"item {_shown(key)}", value) for key, value in thing.items())
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield from ((f"item {index}", value) for index, value in enumerate(thing))
    elif isinstance(thing, type):
        yield from (("attribute " + name, value) for name, value in vars(thing).items())
    else:
        yield from (("attribute " + name, v) for name, v in getattr(thing, "__dict__", {}).items())


def _shown(key: Any) -> str:
    try:
        return f"{key!r:.40}"
    except Exception:  # an object of the user's own, which cannot say what it is
        return _a(key)


def _parts_of_function(function: types.FunctionType) -> Iterator[Any]:
    for name in sorted(_names_used(function.__code__)):
        if name in function.__globals__:
            yield "global " + name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        if cell != types.CellType():  # an empty one
            yield "variable " + name, cell.cell_contents
    for index, value in enumerate(function.__defaults__ or ()):
        yield f"default {index}", value


def _names_used(code: types.CodeType) -> set[str]:
    nested = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*map(_names_used, nested))


def paths_held(request: Json, modules: Modules, paths: Iterable[str]) -> Iterator[Json]:
    """Carry the files that pathlib's objects in the pickle name, and tell where that cannot be.

    What is in folders that they name is seen when the function reads it, if there are samples.
    """
    for path in sorted(paths):
        if os.path.isdir(path) and request["samples"] is not None and modules.places_of(path):
            continue
        if is_ours(request, path) and not (os.path.isfile(path) and modules.carry_file(path)):
            yield _local_path(path, f"the function holds the path {path}")


def audit_pickle(request: Json, needs: Needs, findings: list[Json]) -> dict[str, str]:
    """Read the pickle: what it names is needed, paths of ours are told.

    Gives the versions that it records.
    """
    held = set()
    recorded: dict[str, str] = {}
    try:
        for kind, what in read_pickle(os.path.join(request["out"], PICKLE)):
            if kind in ("module", "held"):
                needs.want(Import(what, "the pickle", kind == "held"))
            elif kind == "version":
                recorded.setdefault(*what)
            elif is_ours(request, what):
                held.add(what)
    except BadPickle as fault:
        raise Stop(_bad_pickle(request, fault)) from None
    findings += [_local_path(path, f"the function holds the path {path}") for path in sorted(held)]
    return recorded


def is_ours(request: Json, path: str) -> bool:
    """Say whether a text is a path in the folders that we work in."""
    folders = {request["root"], request["project"]} - {os.sep}
    return any(is_below(path, folder) for folder in folders)


# --- Reading a pickle ---------------------------------------------------------------------------


class BadPickle(Exception):  # noqa: N818
    """What is no whole pickle, or hides what it names; the message is one clause."""


class Named(NamedTuple):
    """What a pickle names: an attribute of a module."""

    module: str
    name: str


class _Opcode(NamedTuple):
    name: str
    size: int  # of its argument, as pickletools has it: in bytes, or how that is told
    lines: int  # that the argument has, if it is text
    to_mark: bool  # whether it pops the stack down to a mark
    pops: int  # how many it pops, below the mark if there is one
    pushes: int


def _opcodes() -> dict[int, _Opcode]:
    known = {}
    for opcode in pickletools.opcodes:
        before, to_mark = opcode.stack_before, pickletools.markobject in opcode.stack_before
        known[ord(opcode.code)] = _Opcode(
            opcode.name,
            opcode.arg.n if opcode.arg else 0,
            2 if opcode.name in ("GLOBAL", "INST") else 1,
            to_mark,
            before.index(pickletools.markobject) if to_mark else len(before),
            len(opcode.stack_after),
        )
    return known


_OPCODES = _opcodes()
_MARK = object()
_UNKNOWN = (None, None)
_escape_decode: Any = codecs.escape_decode  # what the Unpickler does, and nothing public
_HIGHEST = 5
_INNERMOST = 3  # of pickles in pickles
_DIGITS = 20  # of an index that is written as text
_WIDTHS = {  # of the length that an argument begins with
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,  # signed, but none is so long that it would show
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_IMPORTERS = {
    Named("cloudpickle.cloudpickle", "subimport"),
    Named("importlib", "import_module"),
    Named("builtins", "__import__"),
}
_VERSIONS = {"_sklearn_version": "scikit-learn"}  # where objects note what pickled them


def read_pickle(path: str) -> Iterator[Any]:
    """Give what PickleReader finds in a file, which may be larger than the memory."""
    if not os.path.getsize(path):
        raise BadPickle("it is empty")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield from PickleReader(data)


class PickleReader:
    """Plays the opcodes of a pickle, of any protocol, and gives what they name; loads nothing.

    Iterating gives these pairs, and raises BadPickle where unpickling would fail, or would import
    what only it can know:
        "module", name              what unpickling imports
        "held", name                what a pickle inside of this one names
        "version", (of, version)    what an object says that it was pickled by
        "text", string              any string
    Source: pickletools, and what the Unpickler does where that is silent.
    """

    def __init__(self, data: Any, depth: int = 0) -> None:
        self._data = data
        self._depth = depth
        self._protocol = 0
        self._next = 0
        self._first = 0  # of the argument, which ends before the next
        self._frame = 0  # where it ends
        self._stack: list[Any] = []  # strings, Named and tuples of them; None for all else
        self._memo: dict[int, Any] = {}

    def __iter__(self) -> Iterator[Any]:
        """Give the pairs, in the order of the pickle."""
        data, steps, name = self._data, self._STEPS, ""
        while name != "STOP":
            at = self._next
            try:
                opcode = _OPCODES[data[at]]
                name, size = opcode[:2]
                if size >= 0:
                    self._first, self._next = at + 1, at + 1 + size
                else:
                    self._measure(opcode)
                # What reaches over a frame's end is read in another way by each Unpickler.
                if self._next > len(data) or at < self._frame < self._next:
                    raise ValueError
                found = steps.get(name, PickleReader._other)(self, opcode)
            except (LookupError, ValueError, Warning) as fault:
                raise BadPickle(f"it ends too early, or is damaged, at byte {at}") from fault
            if found:
                yield from found

    def _measure(self, opcode: _Opcode) -> None:
        """Find the argument, whose size is not fixed."""
        first = last = self._next + 1
        if opcode.size == pickletools.UP_TO_NEWLINE:
            for _ in range(opcode.lines):
                last = self._data.find(b"\n", last) + 1 or len(self._data) + 1
        else:
            first += _WIDTHS[opcode.size]
            last = first + int.from_bytes(self._data[last:first], "little")
        self._first, self._next = first, last

    @property
    def _bytes(self) -> bytes:
        argument: bytes = self._data[self._first : self._next]
        return argument

    @property
    def _number(self) -> int:
        return int.from_bytes(self._bytes, "little")

    def _index(self, opcode: _Opcode) -> int:
        digits = self._bytes
        if len(digits) > _DIGITS:
            raise ValueError
        return int(digits) if opcode.name in ("GET", "PUT") else self._number

    def _pop(self) -> Any:
        if self._stack[-1] is _MARK:
            raise ValueError
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        items, stack = [], self._stack
        while (item := stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _other(self, opcode: _Opcode) -> Iterable[Any]:
        if opcode.to_mark:
            self._pop_to_mark()
        for _ in range(opcode.pops):
            self._pop()
        self._stack.extend(_UNKNOWN[: opcode.pushes])
        return ()

    def _proto(self, _: _Opcode) -> Iterable[Any]:
        self._protocol = self._number
        if self._protocol > _HIGHEST:
            raise ValueError
        return ()

    def _begin_frame(self, _: _Opcode) -> Iterable[Any]:
        end = self._next + self._number
        if self._first < self._frame or end > len(self._data):
            raise ValueError
        self._frame = end
        return ()

    def _push(self, thing: Any) -> Iterable[Any]:
        stack = self._stack
        key = stack[-1] if stack else None
        stack.append(thing)
        if isinstance(key, str) and key in _VERSIONS and isinstance(thing, str):
            return (("version", (_VERSIONS[key], thing)),)
        return ()

    def _mark(self, _: _Opcode) -> Iterable[Any]:
        self._stack.append(_MARK)
        return ()

    def _text(self, _: _Opcode) -> Iterable[Any]:
        return self._told(self._bytes.decode("utf-8", "surrogatepass"))

    def _old_text(self, opcode: _Opcode) -> Iterable[Any]:
        argument = self._bytes
        if opcode.name == "UNICODE":
            return self._told(argument[:-1].decode("raw-unicode-escape"))
        if opcode.name == "STRING":
            argument = _escape_decode(_unquoted(argument[:-1]))[0]
        return self._told(argument.decode("ascii"))

    def _told(self, text: str) -> Iterable[Any]:
        version = self._push(text)
        return [*version, ("text", text)] if version else (("text", text),)

    def _binary(self, _: _Opcode) -> Iterable[Any]:
        """Look into bytes that may be a pickle of their own."""
        self._stack.append(None)
        first, last = self._first, self._next
        nested = last - first > 2 and self._data[first] == 0x80 and self._data[last - 1] == ord(".")
        if not nested or self._depth == _INNERMOST:
            return ()
        try:
            found = list(PickleReader(self._bytes, self._depth + 1))
        except BadPickle:  # it only looked like one
            return ()
        return [("held" if kind == "module" else kind, what) for kind, what in found]

    def _put(self, opcode: _Opcode) -> Iterable[Any]:
        thing = self._stack[-1]
        if thing is _MARK:
            raise ValueError
        self._memo[len(self._memo) if opcode.name == "MEMOIZE" else self._index(opcode)] = thing
        return ()

    def _get(self, opcode: _Opcode) -> Iterable[Any]:
        return self._push(self._memo[self._index(opcode)])

    def _dup(self, _: _Opcode) -> Iterable[Any]:
        thing = self._pop()
        self._stack += [thing, thing]
        return ()

    def _discard(self, _: _Opcode) -> Iterable[Any]:
        self._stack.pop()  # a mark, too
        return ()

    def _tuple(self, opcode: _Opcode) -> Iterable[Any]:
        items = self._pop_to_mark() if opcode.to_mark else [self._pop() for _ in range(opcode.pops)]
        self._stack.append(tuple(items if opcode.to_mark else items[::-1]))
        return ()

    def _global(self, opcode: _Opcode) -> Iterable[Any]:
        if opcode.to_mark:  # INST
            self._pop_to_mark()
        module, name, _ = self._bytes.decode().split("\n")
        return self._name(module, name)

    def _outside(self, _: _Opcode) -> Iterable[Any]:
        raise BadPickle("it refers to something that is not in it")

    def _stack_global(self, _: _Opcode) -> Iterable[Any]:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise BadPickle("it makes up the names of what it imports")
        return self._name(module, name)

    def _extension(self, _: _Opcode) -> Iterable[Any]:
        registered = copyreg._inverted_registry.get(self._number)  # type: ignore[attr-defined]
        if registered is None:
            raise BadPickle(f"it has the extension code {self._number}, which copyreg knows not")
        return self._name(*registered)

    def _name(self, module: str, name: str) -> Iterable[Any]:
        if self._protocol < 3:  # what it may call by its name in Python 2
            renamed = _compat_pickle.IMPORT_MAPPING.get(module, module)
            module, name = _compat_pickle.NAME_MAPPING.get((module, name), (renamed, name))
        self._stack.append(Named(module, name))
        return [("module", module)]

    def _reduce(self, _: _Opcode) -> Iterable[Any]:
        given, called = self._pop(), self._pop()
        self._stack.append(None)
        imports = isinstance(called, Named) and called in _IMPORTERS
        if imports and isinstance(given, tuple) and given and isinstance(given[0], str):
            return [("module", given[0])]
        return ()

    _STEPS: dict[str, Any] = {  # noqa: RUF012
        **dict.fromkeys(["STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"], _old_text),
        **dict.fromkeys(["SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"], _text),
        **dict.fromkeys(["SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"], _binary),
        **dict.fromkeys(["PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"], _put),
        **dict.fromkeys(["GET", "BINGET", "LONG_BINGET"], _get),
        **dict.fromkeys(["EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"], _tuple),
        **dict.fromkeys(["GLOBAL", "INST"], _global),
        **dict.fromkeys(["EXT1", "EXT2", "EXT4"], _extension),
        **dict.fromkeys(["PERSID", "BINPERSID", "NEXT_BUFFER"], _outside),
        "STACK_GLOBAL": _stack_global,
        "REDUCE": _reduce,
        "PROTO": _proto,
        "FRAME": _begin_frame,
        "MARK": _mark,
        "POP": _discard,
        "DUP": _dup,
    }


def _unquoted(text: bytes) -> bytes:
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise ValueError
    return text[1:-1]


# --- What the function needs --------------------------------------------------------------------


class Needs:
    """Follows imports: installed modules are named, local ones carried and looked into in turn."""

    def __init__(
        self, modules: Modules, places: Places, owners: Owners, findings: list[Json]
    ) -> None:
        self.claims: set[str] = set()
        self._modules = modules
        self._places = places
        self._owners = owners
        self._findings = findings
        self._waiting: deque[Import] = deque()
        self._known: set[str] = set()
        self._exports: dict[str, list[str]] = {}

    def want(self, wanted: Import) -> None:
        """Note an import, to be followed by close()."""
        self._waiting.append(wanted)

    def close(self) -> None:
        """Follow the imports until there are no new ones."""
        while self._waiting:
            wanted = self._waiting.popleft()
            package, star, _ = wanted.name.partition(".*")
            if star:
                names = [f"{package}.{name}" for name in self._exports.get(package, ())]
                self._waiting.extend(wanted._replace(name=name) for name in names)
            elif wanted.name in self._known or not all(wanted.name.split(".")):
                continue
            elif self._find(wanted) or not wanted.optional:
                self._known.add(wanted.name)
        self._modules.tell_what_is_left(self._findings)

    def _find(self, wanted: Import) -> bool:
        """Follow one import; False if there is no such module."""
        name = wanted.name
        if self._follow(wanted) or is_standard(name) or self._claim(name):
            return True
        if not wanted.optional and name not in self._known and not self._built_elsewhere(name):
            self._findings.append(_unknown(wanted))
        return False

    def _claim(self, name: str) -> bool:
        """Note an installed module; False if there is no such module."""
        claim = self._owners.claim(name)
        if claim:
            self.claims.add(claim)
        # The runtime brings cloudpickle to every image, whether or not the environment has it.
        return bool(claim) or self._owners.is_namespace(name) or _top(name) == "cloudpickle"

    def _follow(self, wanted: Import) -> bool:
        """Carry a local module and queue its imports; False if there is no such module."""
        name = wanted.name
        if _top(name) in ("__main__", "cloudpickle"):  # perhaps the one lent to this environment
            return False
        specs = self._specs(name)
        if not specs or not self._are_local(specs):
            return False
        for above in _above(name):  # importing a module runs the packages that it is in
            self.want(Import(above, name))
        self._modules.carry_spec(name, specs, needed=not wanted.optional)
        self._scan(specs[-1])
        return True

    def _are_local(self, specs: list[Any]) -> bool:
        """Say whether a module is the user's own, and so are the packages that it is in.

        What lies among the installed modules, and is brought by no distribution, is so, too.
        """
        unclaimed = []
        for spec in specs:
            paths = [spec.origin] if spec.has_location else _folders(spec)
            shared = not spec.has_location and spec is not specs[-1]  # a namespace that it is in
            if not shared and not any(map(self._places.is_local, paths)):
                if not any(self._is_unclaimed(spec.name, path) for path in paths):
                    return False
                unclaimed.append(_unclaimed(spec.name, paths[0]))
        self._findings += unclaimed[:1]
        return True

    def _is_unclaimed(self, name: str, path: str) -> bool:
        brought = self._owners.claim(name) or self._owners.is_namespace(name) or is_standard(name)
        return not brought and bool(_inside(path, self._places.sites))

    def _specs(self, name: str) -> list[Any]:
        """Find the specs of a module and of the packages above it, outermost first; runs nothing.

        Gives none if the module is not there.
        """
        path: Any = None
        found: list[Any] = []
        for part in [*reversed(list(_above(name))), name]:
            try:
                spec = _spec(part, path)
            except Exception as fault:  # of a finder that is not Python's own
                self._known.add(name)
                self._findings.append(_finder_failed(part, fault))
                return []
            if spec is None:
                return []
            found.append(spec)
            path = _folders(spec)
        return found

    def _built_elsewhere(self, name: str) -> bool:
        """Look for an extension module that was built for another Python than this one."""
        package, _, last = name.rpartition(".")
        specs = self._specs(package) if package else []
        for folder in _folders(specs[-1]) if specs else [] if package else sys.path:
            with suppress(OSError):
                for file in sorted(os.listdir(folder or ".")):
                    if file.startswith(last + ".") and file.endswith(_EXTENSIONS):
                        self._modules.leave_extension(os.path.join(folder, file), needed=True)
                        return True
        return False

    def _scan(self, spec: Any) -> None:
        if not spec.has_location or not spec.origin.endswith((".py", ".pyc")):
            return
        package = spec.name if _is_package(spec) else spec.name.rpartition(".")[0]
        finder = ImportFinder(spec.name, package)
        try:
            if spec.origin.endswith(".pyc"):
                raise ValueError("it is there as byte code only")
            finder.visit(ast.parse(read_source(spec)))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
            self._findings.append(_unreadable_module(spec, fault))
        self._waiting.extend(finder.found)
        self._exports[spec.name] = finder.exported


def _unknown(wanted: Import) -> Json:
    return warning(
        "capture.unknown-module",
        wanted.name,
        f"{wanted.by} imports {wanted.name}, which no distribution here brings",
        "install what brings it, with pip or conda; by hand it will not get into the image",
    )


def _unclaimed(name: str, path: str) -> Json:
    return warning(
        "capture.unclaimed-module",
        name,
        f"no installed distribution brings {path}, so it is carried as one of your own modules",
        "install what brings it with pip or conda, if it is not yours",
    )


def _unreadable_module(spec: Any, fault: BaseException) -> Json:
    return warning(
        "capture.unreadable-module",
        spec.origin,
        f"what {spec.origin} imports is not known: {said(fault)}",
        f"mend it, or remove the import of {spec.name}",
    )


def _finder_failed(name: str, fault: Exception) -> Json:
    return warning(
        "capture.finder-failed",
        name,
        f"where {name} lies cannot be told, for the import system raised {said(fault)}",
        f"see that `import {name}` works, or remove it",
    )


def _spec(name: str, path: Any) -> Any:
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(loaded, importlib.machinery.ModuleSpec):
        return loaded
    with _stand_in(name.rpartition(".")[0], path):
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path) if find else None
            if spec is not None:
                if spec.submodule_search_locations is not None:  # a namespace's would look again
                    spec.submodule_search_locations = _folders(spec)
                return spec
    return None


@contextmanager
def _stand_in(package: str, path: Any) -> Iterator[None]:
    """Let a package seem to be loaded: what looks for a namespace (PEP 420) in it asks for it."""
    if not package or package in sys.modules:
        yield
        return
    module: Any = types.ModuleType(package)
    module.__path__ = path
    sys.modules[package] = module
    try:
        yield
    finally:
        del sys.modules[package]


def _is_package(spec: Any) -> bool:
    """Say whether a spec is that of a package with an __init__.py."""
    return bool(_folders(spec)) and bool(spec.has_location)


def _folders(spec: Any) -> list[str]:
    return list(spec.submodule_search_locations or [])


def read_source(spec: Any) -> bytes:
    """Read the source of a module, which may be in a zip file."""
    if hasattr(spec.loader, "archive"):
        data: bytes = spec.loader.get_data(spec.origin)
        return data
    with open(spec.origin, "rb") as file:
        return file.read()


class ImportFinder(ast.NodeVisitor):
    """Finds the imports of a module, in all branches but those for type checkers.

    ``from a import *`` is found as ``a.*``; ``exported`` are the names in the module's __all__.
    """

    def __init__(self, module: str, package: str) -> None:
        self.found: list[Import] = []
        self.exported: list[str] = []
        self._module = module
        self._package = package
        self._optional = False
        self._importers = set(_IMPORTS)

    def visit_Import(self, node: ast.Import) -> None:
        """Note ``import a.b``."""
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Note ``from a import b``; b may be a module, or not."""
        base = _absolute(node.module or "", node.level, self._package)
        self._add(base)
        for alias in node.names:
            self._add(base + "." + alias.name, optional=True)
            if base == "importlib" and alias.name in _IMPORTS:
                self._importers.add(alias.asname or alias.name)

    def visit_Call(self, node: ast.Call) -> None:
        """Note ``importlib.import_module("a.b")``, and ``import_module(".b", package="a")``."""
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        name = getattr(given[0], "value", None) if given else None
        if _name_of(node.func) in self._importers and isinstance(name, str):
            self._add(_resolved(name, self._package_meant(given[1:])))
        self.generic_visit(node)

    def _package_meant(self, given: list[ast.expr]) -> str:
        literal = getattr(given[0], "value", None) if given else None
        if isinstance(literal, str):
            return literal
        return self._module if given and _name_of(given[0]) == "__name__" else self._package

    def visit_Assign(self, node: Any) -> None:
        """Note the names in ``__all__``."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if "__all__" in map(_name_of, targets) and node.value:
            values = (getattr(part, "value", None) for part in ast.walk(node.value))
            self.exported += [value for value in values if isinstance(value, str)]
        self.generic_visit(node)

    visit_AnnAssign = visit_AugAssign = visit_Assign  # noqa: N815

    def visit_If(self, node: ast.If) -> None:
        """Leave out ``if TYPE_CHECKING:``, and what else stands by ``if not TYPE_CHECKING:``."""
        negated = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)
        test = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
        skipped = _name_of(test) == "TYPE_CHECKING"
        for part in [node.test, *([] if skipped and not negated else node.body)]:
            self.visit(part)
        for part in [] if skipped and negated else node.orelse:
            self.visit(part)

    def visit_Try(self, node: Any) -> None:
        """Know that an import may fail where its ImportError is caught."""
        caught = any(handler.type is None or _catches(handler.type) for handler in node.handlers)
        self._visit_guarded([*node.body, *node.handlers], caught)
        for statement in (*node.orelse, *node.finalbody):
            self.visit(statement)

    visit_TryStar = visit_Try  # noqa: N815

    def visit_With(self, node: ast.With) -> None:
        """Know that an import may fail under contextlib's ``suppress(ImportError)``."""
        calls = [item.context_expr for item in node.items]
        caught = any(_name_of(getattr(c, "func", c)) == "suppress" and _catches(c) for c in calls)
        for call in calls:
            self.visit(call)
        self._visit_guarded(node.body, caught)

    def _visit_guarded(self, statements: Iterable[ast.AST], caught: bool) -> None:
        before = self._optional
        self._optional = before or caught
        for statement in statements:
            self.visit(statement)
        self._optional = before

    def _add(self, name: str, optional: bool = False) -> None:
        self.found.append(Import(name, self._module, optional or self._optional))


def _name_of(node: ast.AST) -> Any:
    """Give the last part of a dotted name, None if the node is none."""
    return getattr(node, "attr", getattr(node, "id", None))


def _catches(node: ast.AST) -> bool:
    names = set(map(_name_of, ast.walk(node)))
    return bool(names & {*_IMPORT_ERRORS, "Exception", "BaseException"})


# --- The local modules --------------------------------------------------------------------------

_EXTENSIONS = (".so", ".pyd", ".dylib", ".dll")
_TAG = re.compile(r"\.((?:cpython-|pypy|cp|pp)\d[^.]*)\.(?:so|pyd)$")  # of PEP 3149
_ELF_X86_64 = re.compile(rb"\x7fELF\x02\x01.{12}\x3e\x00", re.DOTALL)


class Modules:
    """The folder modules/: copies of the user's own files, each where its import name puts it.

    ``carried`` gives the file that lies at each place.
    """

    def __init__(self, out: str, findings: list[Json], carried: dict[str, str]) -> None:
        self.carried = carried
        self._folder = os.path.join(out, "modules")
        self._findings = findings
        self._left: dict[str, Json] = {}  # findings of files that were left behind
        self._packages: set[str] = set()
        os.makedirs(self._folder, exist_ok=True)

    def carry_spec(self, name: str, specs: list[Any], needed: bool) -> None:
        """Carry a module, and all the files of the outermost package that it is in.

        ``specs`` are those of the packages that it is in and its own.
        """
        package = next((spec for spec in specs if _is_package(spec)), None)
        if package and package.origin not in self._packages:
            self._packages.add(package.origin)
            self._carry_package(package)
        spec = specs[-1]
        if spec.has_location:
            self.carry_module(name, spec.origin, spec.loader)
            if needed and spec.origin in self._left:
                self.leave_extension(spec.origin, needed)

    def carry_module(self, name: str, file: str, loader: Any = None) -> None:
        """Carry a module's file to its place."""
        self._carry(file, _module_path(name, file), loader)

    def carry_file(self, path: str) -> bool:
        """Carry a file that is read; False if it stands in no relation to a local module.

        Found by way of a module's __file__, it is found in the image in the same way.
        """
        if path in self.carried.values():
            return True
        places = [place for _, place in self.places_of(path)]
        if any(part.startswith(".") for place in places for part in place.split("/")):
            return False
        for place in places:
            self._carry(path, place)
        return bool(places)

    def places_of(self, path: str) -> list[Any]:
        """Give the places that correspond to a path, by the folders of the modules carried."""
        files = ((file, place) for place, file in self.carried.items() if file.endswith(".py"))
        return corresponding(path, files)

    def _carry_package(self, spec: Any) -> None:
        """Carry all the files of a package, data too, without caches and hidden folders."""
        source, target = os.path.dirname(spec.origin), spec.name.replace(".", "/")
        archive = getattr(spec.loader, "archive", None)
        # An editable installation may be a folder of links to the sources.
        homes = {os.path.realpath(source), os.path.dirname(os.path.realpath(spec.origin))}
        for path in _files_of_archive(archive, source) if archive else _files_of_folder(source):
            place = f"{target}/{_slashed(os.path.relpath(path, source))}"
            if not _is_text(path):
                self._left[path] = _odd_name(path)
            elif not archive and not _inside(os.path.realpath(path), homes):
                self._left[path] = _link_out(path)
            elif archive or os.path.isfile(path):
                self._carry(path, place, spec.loader)

    def _carry(self, source: str, place: str, loader: Any = None) -> None:
        if source.endswith(_EXTENSIONS) and not fits_image(source):
            self._left.setdefault(source, _unfit(source, needed=False))
            return
        known = self.carried.setdefault(place, source)
        target = os.path.join(self._folder, *place.split("/"))
        if known != source and not _are_same(known, source):
            self._findings.append(_two_files(place, known, source))
        elif not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if hasattr(loader, "archive"):
                with open(target, "wb") as file:
                    file.write(loader.get_data(source))
            else:
                shutil.copyfile(source, target)
            if source.endswith(_EXTENSIONS):
                self._findings.append(_compiled(source))
            self._left.pop(source, None)

    def leave_extension(self, path: str, needed: bool) -> None:
        """Tell, in the end, that an extension module cannot be carried."""
        self._left[path] = _unfit(path, needed)

    def tell_what_is_left(self, findings: list[Json]) -> None:
        """Tell of the files that were left behind."""
        findings += self._left.values()
        self._left.clear()


def fits_image(path: str) -> bool:
    """Say whether a compiled file can be loaded on linux-64 by this very version of Python."""
    tag = _TAG.search(path)
    with open(path, "rb") as file:
        fits = _ELF_X86_64.match(file.read(20))
    here = "cpython-{}{}-x86_64-linux-gnu".format(*sys.version_info)
    return bool(fits) and (tag is None or tag.group(1) == here)


def corresponding(path: str, files: Iterable[tuple[str, str]]) -> list[Any]:
    """Give the innermost folders that a path is in, and what corresponds to it below modules/.

    ``files`` are those of modules, with their places there.
    """
    folders = set()
    for file, place in files:
        stem = file[: -len(place)] if _slashed(file).endswith("/" + place) else None
        folders.add((stem[:-1], "") if stem else (os.path.dirname(file), os.path.dirname(place)))
    found = [
        (f, f"{p}/{_slashed(os.path.relpath(path, f))}") for f, p in folders if is_below(path, f)
    ]
    return sorted(((f, p.lstrip("/")) for f, p in found), key=lambda pair: -len(pair[0]))


def _files_of_folder(source: str) -> Iterator[str]:
    """Give the files below a folder, and the links to folders, which are not followed."""
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and f[0] != ".")
        links = (name for name in folders if os.path.islink(os.path.join(folder, name)))
        yield from (os.path.join(folder, name) for name in sorted([*files, *links]))


def _files_of_archive(archive: str, source: str) -> Iterator[str]:
    with zipfile.ZipFile(archive) as opened:
        paths = [os.path.join(archive, name) for name in sorted(opened.namelist())]
    hidden = (".", "__pycache__")
    for path in paths:
        parts = os.path.relpath(path, source).split(os.sep)
        if not path.endswith(os.sep) and not any(part.startswith(hidden) for part in parts):
            yield path


def _are_same(one: str, other: str) -> bool:
    return all(map(os.path.isfile, (one, other))) and filecmp.cmp(one, other, shallow=False)


def _two_files(place: str, one: str, other: str) -> Json:
    return error(
        "capture.two-files",
        place,
        f"{one} and {other} would both be modules/{place} in the image, and they differ",
        "give one of them another name, or put it into a package",
    )


def _compiled(path: str) -> Json:
    return warning(
        "capture.extension-module",
        path,
        f"{path} is compiled on this machine, and the image may lack libraries that it needs",
        "make a wheel of it and install that in the environment",
    )


def _unfit(path: str, needed: bool) -> Json:
    what = "{} is not compiled for Python {}.{} on linux-64".format(path, *sys.version_info)
    if needed:
        return error(
            "missing.extension-module",
            path,
            f"{what}, and the function imports it",
            "publish a wheel of it for linux-64 (a manylinux wheel) and install that instead",
        )
    return warning(
        "capture.extension-module",
        path,
        f"{what}, and is left out",
        "make a wheel of it for linux-64, if the function needs it",
    )


def _odd_name(path: str) -> Json:
    return warning(
        "capture.file-name",
        path,
        f"the name of {path} is not UTF-8, and it is left out",
        "give it another name if the function needs it",
    )


def _link_out(path: str) -> Json:
    return warning(
        "capture.link-out",
        path,
        f"{path} is a link that leads out of its package, and is left out",
        "put the file itself there if the function needs it",
    )


# --- The pickle in a fresh process ----------------------------------------------------------------


def unpickle(request: Json) -> Callable[[Any], Any]:
    """Load the function as its container will; local files lie where they are here, though."""
    path = os.path.join(request["captured"], _PICKLE_HERE)
    if not os.path.exists(path):
        path = os.path.join(request["captured"], PICKLE)
    try:
        with users_code(), open(path, "rb") as file:
            function: Callable[[Any], Any] = pickle.load(file)
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        print_traceback(failure)
        raise Stop(_not_loadable(request, failure)) from None
    return function


class Imports:
    """Hears what the user's own code imports: what others have loaded before, too."""

    def __init__(self, owners: Owners) -> None:
        self.found: dict[Import, None] = {}
        self._owners = owners
        self._import, self._import_module = builtins.__import__, importlib.import_module
        builtins.__import__ = self._hear
        importlib.import_module = self._hear_module

    def _hear(
        self,
        name: str,
        globals: Any = None,  # noqa: A002
        locals: Any = None,  # noqa: A002
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        module = self._import(name, globals, locals, fromlist, level)
        package = (globals or {}).get("__package__")
        self._note(sys._getframe(1), "." * level + name, package, fromlist or ())
        return module

    def _hear_module(self, name: str, package: str | None = None) -> Any:
        module = self._import_module(name, package)
        self._note(sys._getframe(1), name, package, ())
        return module

    def _note(self, frame: Any, name: str, package: str | None, parts: Iterable[str]) -> None:
        by = frame.f_globals.get("__name__") or ""
        if not self._owners.is_users(by):
            return
        base = _resolved(name, package or "")
        for one in (base, *(f"{base}.{part}" for part in parts)):
            if one in sys.modules:
                self.found[Import(one, by, True)] = None


def local_modules(places: Places, names: Iterable[str]) -> Iterator[Import]:
    """Give those of the modules loaded that are local."""
    for name in sorted({*names} - {_BATCH}):
        file = getattr(sys.modules.get(name), "__file__", None)
        if isinstance(file, str) and places.is_local(file):
            yield Import(name, "a call", True)


def carry_files_read(
    request: Json, modules: Modules, watch: Watch, places: Places
) -> Iterator[Json]:
    """Carry the files that were read, and tell of those that the image will not have."""
    for path, relative in sorted(watch.files(places, request).items()):
        if "__pycache__" in path or path in sys.path:
            continue
        if relative:
            yield _local_path(path, f"the function reads {path} by a path from the working folder")
        elif not modules.carry_file(path) and is_below(path, request["project"]):
            yield _local_path(path, f"the function reads {path}")


def variables_read(request: Json, owners: Owners) -> Iterator[Json]:
    """Tell of environment variables that the user's own code reads, and that are set here."""
    asked = sorted(_Listening.asked.items())
    names = [name for name, by in asked if name in os.environ and any(map(owners.is_users, by))]
    if names:
        yield warning(
            "capture.environment-variable",
            ", ".join(names),
            f"{request['attribute']} reads environment variables that the image does not set",
            "read what decides about the model when it is loaded, and keep that; what belongs to a"
            " machine, let whoever starts the replicas set there",
        )


def _local_path(path: str, what: str) -> Json:
    return warning(
        "capture.local-path",
        path,
        f"{what}, which the image will not have",
        "find it by way of Path(__file__).parent, in or below the folder of a module that goes"
        " along; or read it when the module is loaded, and keep what was in it",
    )


def _not_loadable(request: Json, failure: BaseException) -> Json:
    return error(
        "capture.not-loadable",
        request["text"],
        f"{request['attribute']} can be pickled, but a fresh process that loads it raises"
        f" {said(failure)}{_place(failure)}",
        "import what it uses from a file; what is put together while the target is loaded, as a"
        " module made by hand, is not there in the image",
    )


def _answers_no_more(request: Json, fault: Json) -> Json:
    return error(
        "verify.pickle-differs",
        request["text"],
        f"loaded from its pickle in a fresh process the function fails: {fault['message']}",
        "let it use only its own globals and what it imports: what loading its file changes"
        " elsewhere (other modules, the process) is not so in the image",
    )


def _bad_pickle(request: Json, fault: BadPickle) -> Json:
    return error(
        "capture.bad-pickle",
        request["text"],
        f"what {request['attribute']} needs cannot be read from its pickle: {fault}",
        "see which of its objects makes its own pickle (__reduce__), and let it name plain"
        " modules and classes",
    )


# --- Samples ------------------------------------------------------------------------------------


def asker_of(request: Json, function: Any, findings: list[Json]) -> Any:
    """Give an Asker of the function; None without samples, or without numpy."""
    if request["samples"] is None:
        return None
    try:
        importlib.import_module("numpy")  # the batch needs it, the function perhaps does not
    except Exception as failure:
        findings.append(_no_numpy(failure))
        return None
    return Asker(request, function)


def _no_numpy(failure: Exception) -> Json:
    return warning(
        "capture.no-numpy",
        "numpy",
        f"the environment has no numpy, so the function was not asked about the samples"
        f" ({said(failure)})",
        "install numpy there: the image has it, and answers are then compared",
    )


class Asker:
    """Calls the function as its container will, and notes what goes wrong."""

    def __init__(self, request: Json, function: Any) -> None:
        self.findings: list[Json] = []
        self._request = request
        self._function = function
        self._batch = _import_file(_BATCH, request["batch"])

    def answers(self) -> Any:
        """Answer the samples, one by one and as one batch; None if that fails."""
        samples = self._request["samples"]
        single = [
            self._ask([sample], f"sample {number} of {len(samples)}")
            for number, sample in enumerate(samples, 1)
        ]
        together = self._ask(samples, f"{len(samples)} samples as one batch")
        if self.findings:
            return None
        return {"batch": together, "single": [answer for (answer,) in single]}

    def _ask(self, values: list[Any], what: str) -> list[str]:
        """Give the answers to these inputs, an empty list if there is a finding."""
        label = self._request["input_type"]
        inputs = self._batch.batch_of(
            self._batch.frames_of(values, label), label, self._request["strings"]
        )
        try:
            with users_code():
                texts: list[str] = self._batch.outputs_of(self._function(inputs), len(values))
        except KeyboardInterrupt:
            raise
        except self._batch.OutputError as fault:
            self._complain(f"verify.{fault.kind}", str(fault), what)
        except BaseException as failure:
            message = f"{self._request['attribute']} raised {said(failure)}"
            self._complain("verify.sample-raised", message, what, failure)
        else:
            if _is_text("".join(texts)):
                return texts
            self._complain("verify.not-text", "an answer has lone surrogates", what)
        return []

    def _complain(
        self, code: str, message: str, what: str, failure: BaseException | None = None
    ) -> None:
        # A fault of one sample is mostly that of others and of the batch as well: once is enough.
        if any(known["code"] == code for known in self.findings):
            return
        if failure is not None:
            print_traceback(failure)
        self.findings.append(
            error(
                code,
                self._request["text"],
                f"{message} ({what})",
                "mend the function: it gets a batch of inputs and gives a list of as many answers",
            )
        )


def _is_text(text: str) -> bool:
    """Say whether a string has a UTF-8; an odd file name, with lone surrogates, has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1])
