"""The agent: loads the target in the user's own interpreter, pickles it and looks around there.

Run as ``PYTHON agent.py REQUEST.json`` with PYTHONHASHSEED=0 and PYTHONDONTWRITEBYTECODE=1.
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
    pickle_only   true: load and pickle, and look no further

The results, in ``out``: func.pkl, modules/, and result.json:
    findings      [{code, severity, subject, message, remedy}, …]; the others only without errors
    cloudpickle   the version that pickled
    modules       import names of the needed modules that distributions bring
    environment   what imagesmith.capture.environment.Environment reads
    prefix        the folder of the interpreter's environment
    answers       {"batch": [text, …], "single": [text, …]}, or null
    seen          {sites, files, variables}, or null where the target reached outside
"""

from __future__ import annotations

import ast
import csv
import dis
import hashlib
import importlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
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
from collections import ChainMap, deque
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import metadata
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple
from urllib.parse import urlsplit, urlunsplit

Json = Dict[str, Any]

MODULES = "/model/modules"  # where the image has the local modules
ENVIRONMENT = f"/opt/env/lib/python{sys.version_info.major}.{sys.version_info.minor}"
PROTOCOL = 5
_DEEPEST = 10  # how far the way to what cannot be pickled is followed
OLDEST_CLOUDPICKLE = (2, 0)  # the first that can pickle a module by value


def main(request_path: str) -> None:
    """Answer one request."""
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != own]
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
    places = Places()
    # Before the target can change the path: what is installed, and who brings which module.
    distributions = list(read_distributions(sys.path, places.sites, findings))
    owners = Owners(distributions)
    cloudpickle = import_cloudpickle(request["cloudpickle"])
    load_from_source(places)
    watch = Watch()
    function = load(request, owners)
    watch.end_of_loading()
    local = local_file(request["module"], places)
    pickler = dump(request, function, local, cloudpickle, places)
    if request["pickle_only"]:
        return {"findings": findings}
    answers, called = answer_samples(request, function, findings)
    needs = Needs(request, places, owners, findings)
    audit_pickle(request, needs, pickler.paths, findings)
    for wanted in [*pickler.imports, *called]:
        needs.want(wanted)
    if local:
        needs.copy_file(request["module"], local)
    needs.close()
    return {
        "findings": findings,
        "cloudpickle": cloudpickle.__version__,
        "modules": sorted(needs.claims),
        "environment": {**read_interpreter(), "distributions": distributions},
        "prefix": sys.prefix,
        "answers": answers,
        "seen": watch.seen(places, request),
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

    def in_image(self, path: str, local: dict[str, str]) -> str:
        """Give the path that a source file has in the image; ``local`` maps the local ones."""
        if path.startswith("<"):
            return path
        path = os.path.abspath(path)
        for folders, above in ((self.sites, "/site-packages"), (self.stdlib, "")):
            folder = _inside(path, folders)
            if folder:
                return f"{ENVIRONMENT}{above}/{_slashed(os.path.relpath(path, folder))}"
        return f"{MODULES}/{local.get(path, os.path.basename(path))}"

    def local_files(self) -> dict[str, str]:
        """Map the file of each local module loaded to its path below modules/."""
        loaded = [(name, getattr(module, "__file__", None)) for name, module in _loaded()]
        return {
            os.path.abspath(file): _module_path(name, file)
            for name, file in loaded
            if isinstance(file, str) and self.is_local(file)
        }


def _both_spellings(folders: Iterable[str]) -> list[str]:
    """Give each folder as it is written and as links lead, the innermost first."""
    spelled = {spell(f) for f in folders for spell in (os.path.abspath, os.path.realpath)}
    return sorted(spelled, key=len, reverse=True)


def _inside(path: str, folders: Iterable[str]) -> str | None:
    """Give the first of the folders that a path lies in, or None."""
    path = os.path.abspath(path)
    return next((f for f in folders if path.startswith(f.rstrip(os.sep) + os.sep)), None)


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
        self._opened: set[str] = set()
        self._loading = True
        self._outside = False
        _Listening.asked.clear()
        os.environ.__class__ = _Listening
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: Any) -> None:
        if event == "open":
            path, _mode, flags = args
            if isinstance(path, (str, bytes)) and flags & os.O_ACCMODE != os.O_WRONLY:
                self._opened.add(os.path.abspath(os.fsdecode(path)))
        elif event in _OUTSIDE and self._loading:
            self._outside = True

    def end_of_loading(self) -> None:
        """Go on listening to what is read, but no longer to what reaches outside."""
        self._loading = False

    def seen(self, places: Places, request: Json) -> Json | None:
        """Say what the target depends on; None if it reached outside."""
        if self._outside:
            return None
        own = (request["out"], os.path.dirname(os.path.abspath(__file__)), request["batch"])
        files = [p for p in list(self._opened) if _matters(p, places, request["root"])]
        return {
            "sites": sorted({os.path.realpath(s) for s in places.sites if os.path.isdir(s)}),
            "files": sorted(p for p in files if not p.startswith(own)),
            "variables": sorted(_Listening.asked),
        }


class _Listening(type(os.environ)):  # type: ignore[misc]
    """os.environ, which remembers the names that were asked for."""

    asked: set[str] = set()  # noqa: RUF012

    def __getitem__(self, key: str) -> str:
        if isinstance(key, str):
            self.asked.add(key)
        value: str = super().__getitem__(key)
        return value


def _matters(path: str, places: Places, root: str) -> bool:
    if not places.is_local(path) or not os.path.isfile(path):
        return False
    if _inside(path, [root]):
        return True
    return not _inside(path, ["/proc", "/sys", "/dev", sys.prefix, sys.base_prefix])


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
    known = distribution.metadata  # parsed each time that it is asked for
    name, version = known["Name"], known["Version"]
    if not name or not version:
        raise ValueError("its metadata lacks %s" % ("a version" if name else "a name"))
    required = known.get_all("Requires-Dist") or distribution.requires or ()
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    outside = not _inside(os.path.join(str(distribution.locate_file("")), name), sites)
    editable = bool(origin.get("dir_info", {}).get("editable")) or outside
    return {
        "name": re.sub(r"[-_.]+", "-", name).lower(),
        "version": version,
        "requires": [" ".join(line.split()) for line in required],
        "modules": _brought(distribution, name, editable),
        "direct_url": _reference(origin) if "url" in origin else None,
        "editable": editable,
        "installer": (distribution.read_text("INSTALLER") or "").strip() or None,
        "requested": distribution.read_text("REQUESTED") is not None,
        "size": _size(distribution),
    }


def _size(distribution: metadata.Distribution) -> int:
    """Add up the bytes of the files that RECORD gives the sizes of."""
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    sizes = (row[2] for row in rows if len(row) > 2)
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


def _brought(distribution: metadata.Distribution, name: str, editable: bool) -> list[str]:
    """Give the import names that a distribution brings."""
    record = distribution.read_text("RECORD")
    if record and not editable:
        return sorted(claimed([row[0] for row in csv.reader(record.splitlines()) if row]))
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

    def __init__(self, distributions: Iterable[Json]) -> None:
        installed = [d for d in distributions if not d["editable"]]
        self._claims = {module for d in installed for module in d["modules"]}
        self._namespaces = {above for claim in self._claims for above in _above(claim)}

    def claim(self, name: str) -> str | None:
        """Give the import name, this one or one above it, that a distribution brings, or None."""
        return next((n for n in (name, *_above(name)) if n in self._claims), None)

    def is_namespace(self, name: str) -> bool:
        """Say whether a name is only a namespace that distributions share."""
        return name in self._namespaces


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
    return error(
        "capture.target-failed",
        request["text"],
        f"loading it raised {said(failure)}{_place(failure)}",
        "mend it so that `%s` runs it (the traceback is above)"
        % ("python " + os.path.basename(request["file"] or "-m " + request["module"])),
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
    files = places.local_files()
    make = pickler_class(cloudpickle, lambda path: places.in_image(path, files))
    try:
        with open(os.path.join(request["out"], "func.pkl"), "wb") as file:
            pickler = make(file)
            pickler.dump(function)
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        raise Stop(_unpicklable(request, offender(function, make), failure)) from None
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


def pickler_class(cloudpickle: Any, in_image: Callable[[str], str]) -> Any:
    """Derive a pickler that writes the image's paths for ours, and notes what code imports."""
    base = cloudpickle.CloudPickler
    reduce_code = base.dispatch_table[types.CodeType]
    reduce_module = base.dispatch_table[types.ModuleType]
    subimport = cloudpickle.cloudpickle.subimport
    known: dict[str, str] = {}  # equal paths must be one object: pickles show identity

    def moved(path: str) -> str:
        return known.setdefault(path, in_image(path))

    class Pickler(base):  # type: ignore[misc, valid-type]
        def __init__(self, file: Any) -> None:
            self.imports: dict[Import, None] = {}
            self.paths: set[str] = set()
            ours = {
                types.CodeType: self._reduce_code,
                types.ModuleType: by_name,
                pathlib.PosixPath: self._reduce_path,
            }
            # Read by the C pickler when it is initialised, and not again.
            self.dispatch_table = ChainMap(ours, base.dispatch_table)
            super().__init__(file, protocol=PROTOCOL)

        def _reduce_code(self, code: types.CodeType) -> Any:
            self.imports.update(dict.fromkeys(imports_of_code(code)))
            return reduce_code(code.replace(co_filename=moved(code.co_filename)))

        def _reduce_path(self, path: pathlib.Path) -> Any:
            self.paths.add(str(path))
            return path.__reduce_ex__(PROTOCOL)

        def _dynamic_function_reduce(self, func: Any) -> Any:
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


def imports_of_code(code: types.CodeType) -> Iterator[Import]:
    """Give what a code object imports, not looking into those nested in it."""
    level: Any = None
    names: Any = None
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            base = _absolute(step.argval, level, _package_of(code.co_filename))
            yield Import(base, code.co_name)
            yield from (Import(base + "." + n, code.co_name, True) for n in names or () if n != "*")
        if step.opname != "EXTENDED_ARG":
            level, names = names, step.argval  # the two steps before IMPORT_NAME load them


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


def _dots(name: str) -> int:
    return len(name) - len(name.lstrip("."))


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


def audit_pickle(request: Json, needs: Needs, paths: Iterable[str], findings: list[Json]) -> None:
    """Read the pickle's opcodes: which modules it names, and whether it holds paths of ours.

    ``paths`` are those that it holds as pathlib objects, whose opcodes do not show them whole.
    """
    roots = tuple({request["root"] + os.sep, request["project"] + os.sep} - {"//"})
    held = {path for path in paths if (path + os.sep).startswith(roots)}
    with open(os.path.join(request["out"], "func.pkl"), "rb") as file:
        for kind, text in strings_of_pickle(file):
            if kind == "module":
                needs.want(Import(text, "the pickle"))
            elif (text + os.sep).startswith(roots):
                held.add(text)
    findings += [
        warning(
            "capture.local-path",
            path,
            f"the function holds the path {path}, which the image will not have",
            "read the file when the module is loaded, and keep what was in it",
        )
        for path in sorted(held)
    ]


def strings_of_pickle(file: Any) -> Iterator[Any]:
    """Give ("module", name) for each module that a pickle names, ("text", string) for the strings.

    Modules are named by GLOBAL, STACK_GLOBAL, and by the calls of cloudpickle's subimport.
    Nothing is loaded.
    """
    memo: dict[Any, Any] = {}
    count = 0
    last: deque[Any] = deque([None, None], maxlen=2)  # the two newest on the stack, if known
    for opcode, arg, _position in pickletools.genops(file):
        name = opcode.name
        if name == "MEMOIZE":
            if last[-1] is not None:
                memo[count] = last[-1]
            count += 1
        elif name in ("FRAME", "PROTO"):
            continue
        elif name in ("BINGET", "LONG_BINGET"):
            last.append(memo.get(arg))
        elif name.endswith("BINUNICODE") or name == "BINUNICODE8":
            last.append(arg)
            yield "text", arg
        elif name == "GLOBAL":
            last.append(tuple(str(arg).split(" ")))
            yield "module", last[-1][0]
        elif name == "STACK_GLOBAL":
            last.append(tuple(last))
            if isinstance(last[-1][0], str):
                yield "module", last[-1][0]
        else:
            if name == "TUPLE1" and last[0] and last[0][1:] == ("subimport",):
                yield "module", last[1]
            last.append(None)


# --- What the function needs --------------------------------------------------------------------


class Needs:
    """Follows imports: installed modules are named, local ones copied and looked into in turn."""

    def __init__(self, request: Json, places: Places, owners: Owners, findings: list[Json]) -> None:
        self.claims: set[str] = set()
        self._folder = os.path.join(request["out"], "modules")
        self._places = places
        self._owners = owners
        self._findings = findings
        self._waiting: deque[Import] = deque()
        self._known: set[str] = set()
        self._copied: set[str] = set()
        os.mkdir(self._folder)

    def want(self, wanted: Import) -> None:
        """Note an import, to be followed by close()."""
        self._waiting.append(wanted)

    def close(self) -> None:
        """Follow the imports until there are no new ones."""
        while self._waiting:
            wanted = self._waiting.popleft()
            if wanted.name in self._known or is_standard(wanted.name):
                continue
            if not all(wanted.name.split(".")):  # from … import, above the outermost package
                continue
            if not (self._follow(wanted.name) or self._claim(wanted.name)):
                if wanted.optional:
                    continue
                self._findings.append(_unknown(wanted))
            self._known.add(wanted.name)

    def _claim(self, name: str) -> bool:
        """Note an installed module; False if there is no such module."""
        claim = self._owners.claim(name)
        if claim:
            self.claims.add(claim)
        # The runtime brings cloudpickle to every image, whether or not the environment has it.
        return bool(claim) or self._owners.is_namespace(name) or _top(name) == "cloudpickle"

    def _follow(self, name: str) -> bool:
        """Copy a local module and queue its imports; False if there is no such module."""
        if _top(name) == "cloudpickle":  # perhaps the one lent to this environment
            return False
        specs = list(_specs(name, self._is_local))
        if not specs:
            return False
        for above in _above(name):  # importing a module runs the packages that it is in
            self.want(Import(above, name))
        package = next((spec for spec in specs if _is_package(spec)), None)
        if package:
            self._copy_package(package)
        elif specs[-1].has_location:
            self.copy_file(name, specs[-1].origin)
        self._scan(specs[-1])
        return True

    def _is_local(self, spec: Any) -> bool:
        if spec.origin is None or spec.origin == "namespace":  # 3.8 may spell it so
            return any(map(self._places.is_local, _folders(spec)))
        return bool(spec.has_location) and self._places.is_local(spec.origin)

    def copy_file(self, name: str, file: str) -> None:
        """Copy a module's file to its place below modules/."""
        self._copy(file, os.path.join(self._folder, *_module_path(name, file).split("/")))

    def _copy_package(self, spec: Any) -> None:
        """Copy all the files of a package, data too, without caches and hidden folders."""
        source = os.path.dirname(spec.origin)
        if source in self._copied:
            return
        self._copied.add(source)
        target = os.path.join(self._folder, *spec.name.split("."))
        for folder, folders, files in os.walk(source):
            folders[:] = sorted(f for f in folders if f != "__pycache__" and f[0] != ".")
            for file in sorted(files):
                path = os.path.join(folder, file)
                self._copy_of_package(path, source, target)

    def _copy_of_package(self, path: str, source: str, target: str) -> None:
        if not _is_text(path):
            self._findings.append(
                warning(
                    "capture.file-name",
                    path,
                    f"the name of {path} is not UTF-8, and it is left out",
                    "give it another name if the function needs it",
                )
            )
        elif not _inside(os.path.realpath(path), [os.path.realpath(source)]):
            self._findings.append(
                warning(
                    "capture.link-out",
                    path,
                    f"{path} is a link that leads out of its package, and is left out",
                    "put the file itself there if the function needs it",
                )
            )
        elif os.path.isfile(path):
            self._copy(path, os.path.join(target, os.path.relpath(path, source)))

    def _copy(self, source: str, target: str) -> None:
        if os.path.exists(target):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        if source.endswith((".so", ".pyd")):
            self._findings.append(
                warning(
                    "capture.extension-module",
                    source,
                    f"{source} is compiled for this machine, and the image may not run it",
                    "make a wheel of it and install that in the environment",
                )
            )

    def _scan(self, spec: Any) -> None:
        if not spec.has_location or not spec.origin.endswith(".py"):
            return
        package = spec.name if _is_package(spec) else spec.name.rpartition(".")[0]
        with open(spec.origin, "rb") as file:
            source = file.read()
        finder = ImportFinder(spec.name, package)
        try:
            finder.visit(ast.parse(source))
        except (SyntaxError, ValueError, RecursionError) as fault:
            self._findings.append(
                warning(
                    "capture.unreadable-module",
                    spec.origin,
                    f"what {spec.origin} imports is not known: {said(fault)}",
                    f"mend it, or remove the import of {spec.name}",
                )
            )
        self._waiting.extend(finder.found)


def _unknown(wanted: Import) -> Json:
    return warning(
        "capture.unknown-module",
        wanted.name,
        f"{wanted.by} imports {wanted.name}, which no distribution here brings",
        "install what brings it, with pip or conda; by hand it will not get into the image",
    )


def _specs(name: str, fits: Callable[[Any], bool]) -> Iterator[Any]:
    """Find the specs of a module and of the packages above it, outermost first; runs nothing.

    Gives nothing if the module is not there, or a spec does not fit.
    """
    path: Any = None
    found = []
    for part in [*reversed(list(_above(name))), name]:
        spec = _spec(part, path)
        if spec is None or not fits(spec):
            return
        found.append(spec)
        path = spec.submodule_search_locations or []
    yield from found


def _spec(name: str, path: Any) -> Any:
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None:
        return loaded
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
    specs = (find(name, path) for find in finders if find is not None)
    return next((spec for spec in specs if spec is not None), None)


def _is_package(spec: Any) -> bool:
    """Say whether a spec is that of a package with an __init__.py."""
    return bool(_folders(spec)) and bool(spec.has_location)


def _folders(spec: Any) -> list[str]:
    return list(spec.submodule_search_locations or [])


class ImportFinder(ast.NodeVisitor):
    """Finds the imports of a module, in all branches but those for type checkers."""

    def __init__(self, module: str, package: str) -> None:
        self.found: list[Import] = []
        self._module = module
        self._package = package
        self._optional = False

    def visit_Import(self, node: ast.Import) -> None:
        """Note ``import a.b``."""
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Note ``from a import b``; b may be a module, or not."""
        base = _absolute(node.module or "", node.level, self._package)
        self._add(base)
        for alias in node.names:
            if alias.name != "*":
                self._add(base + "." + alias.name, optional=True)

    def visit_Call(self, node: ast.Call) -> None:
        """Note ``importlib.import_module("a.b")``."""
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        first = node.args[0] if node.args else None
        literal = getattr(first, "value", None)
        if name in ("import_module", "__import__") and isinstance(literal, str):
            self._add(_absolute(literal.lstrip("."), _dots(literal), self._package))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        """Leave out ``if TYPE_CHECKING:``."""
        test = getattr(node.test, "attr", getattr(node.test, "id", None))
        run = [] if test == "TYPE_CHECKING" else [node.test, *node.body]
        for part in [*run, *node.orelse]:
            self.visit(part)

    def visit_Try(self, node: ast.Try) -> None:
        """Know that an import may fail where its ImportError is caught."""
        before = self._optional
        self._optional = before or any(map(_catches_import_error, node.handlers))
        for statement in (*node.body, *node.handlers):
            self.visit(statement)
        self._optional = before
        for statement in (*node.orelse, *node.finalbody):
            self.visit(statement)

    def _add(self, name: str, optional: bool = False) -> None:
        self.found.append(Import(name, self._module, optional or self._optional))


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {getattr(node, "id", None) for node in ast.walk(handler.type)}
    return bool(names & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


# --- Samples ------------------------------------------------------------------------------------


def answer_samples(request: Json, function: Any, findings: list[Json]) -> Any:
    """Call the function on the samples: its answers, or None, and what it imported meanwhile."""
    samples = request["samples"]
    if samples is None:
        return None, []
    try:
        importlib.import_module("numpy")  # the batch needs it, the function perhaps does not
    except Exception as failure:
        findings.append(_no_numpy(failure))
        return None, []
    ask = Asker(request, function)
    before = set(sys.modules)
    single = [
        ask([sample], f"sample {number} of {len(samples)}")
        for number, sample in enumerate(samples, 1)
    ]
    together = ask(samples, f"{len(samples)} samples as one batch")
    findings.extend(ask.findings)
    called = [Import(name, "a call", True) for name in sorted(set(sys.modules) - before)]
    if ask.findings:
        return None, called
    return {"batch": together, "single": [answer for (answer,) in single]}, called


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
        self._batch = _import_file("_imagesmith_batch", request["batch"])

    def __call__(self, values: list[Any], what: str) -> list[str]:
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
