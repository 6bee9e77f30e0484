"""The Docker builder: a plan's Dockerfile, carried out by an engine.

What the engine has made is taken into the store, as any other image of imagesmith's: its layers
as the engine has them, compressed as ours are, under a config of our own serialisation. So there
is one manifest and one digest, wherever it is published; and an engine that it is loaded into
again has its layers already. Its digest is the engine's doing: unlike the layers builder's it
holds the time of the build, and stays the same only as long as the engine has the steps cached.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections import deque
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from imagesmith.build.builder import nobody
from imagesmith.engine import connected
from imagesmith.findings import ImagesmithError, error
from imagesmith.image import oci
from imagesmith.image.compiler import BaseCompiler
from imagesmith.image.layer import compressed
from imagesmith.partial import scratch
from imagesmith.render import render
from imagesmith.store import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from docker import APIClient, DockerClient

    from imagesmith.image.plan import ImagePlan
    from imagesmith.progress import Progress
    from imagesmith.resolve.lock import Lock
    from imagesmith.store import Store

_KEPT = 40  # lines of the engine's output that an error shows
_API_WITH_BUILDKIT = (1, 39)
# How the two builders name a step: "Step 3/9 : RUN make", and "[check 2/5] RUN make", which has a
# number before it, as all that BuildKit says of that step: it runs several at once.
_STEP = re.compile(r"Step \d+/\d+ : (.+)|(\[(?!internal|auth).+)")
_NUMBERED = re.compile(r"#(\d+) (.*)")
_PASSED = re.compile(r"(?:DONE|CACHED|sha256:|transferring |extracting )")


@dataclass(frozen=True)
class DockerBuilder:
    """Has the engine of ``host``, else of DOCKER_HOST, build a plan by a template.

    By BuildKit where the engine has it and a docker command that speaks it is on PATH, else by the
    classic builder.
    """

    name: ClassVar[str] = "docker"

    store: Store
    progress: Progress
    lock: Lock
    template: Path | None = None
    host: str | None = None
    base_reference: str | None = None  # as ``render`` takes it

    def build(self, plan: ImagePlan, made: Callable[[oci.Layer], None] = nobody) -> oci.Image:  # noqa: ARG002
        """Make the image; its blobs are then in the store. The engine has its layers already.

        Raises ImagesmithError: reach.engine, build.engine (with the engine's log), build.store,
        and what ``render`` raises.
        """
        from docker.errors import APIError
        from requests import RequestException

        with connected(self.host) as client:
            try:
                self.store.sweep()
                with self._scratch() as folder:
                    built = self._built(client, plan, folder / "context")
                    return self._taken(client.api, built, plan, folder / "image.tar")
            except APIError as refused:
                raise _refused(plan.reference, str(refused.explanation)) from refused
            except (RequestException, ConnectionError):  # the engine has gone away
                raise
            except OSError as bad:
                raise self.store.failure(bad) from bad

    def _scratch(self) -> AbstractContextManager[Path]:
        self.store.root.mkdir(parents=True, exist_ok=True)
        return scratch(self.store.root)

    def _built(self, client: DockerClient, plan: ImagePlan, context: Path) -> str:
        """Give the id of the image that the engine makes of the plan's context."""
        compiler = BaseCompiler(self.store, plan.base)
        render(
            plan,
            self.store,
            self.lock,
            compiler,
            context,
            self.template,
            base_reference=self.base_reference,
        )
        command = buildkit_command()
        log = _Log(self.progress)
        if command is not None and _has_buildkit(client):
            built = _by_buildkit(command, self.host, context, log)
        else:
            built = _by_classic(client.api, context, log)
        if built is None:
            client.ping()  # one that has gone away says nothing about the build
            raise log.failure(plan.reference)
        return built

    def _taken(self, api: APIClient, built: str, plan: ImagePlan, archive: Path) -> oci.Image:
        """Take an image out of the engine into the store."""
        with archive.open("wb") as out:
            for chunk in api.get_image(built, chunk_size=CHUNK):
                out.write(chunk)
        try:
            with tarfile.open(archive, "r:") as tar:
                (saved,) = json.load(_member(tar, "manifest.json"))
                config = json.load(_member(tar, saved["Config"]))
                layers = tuple(self._layers(tar, saved["Layers"], config))
        except (tarfile.TarError, ValueError, KeyError) as bad:
            raise _refused(plan.reference, f"what it gives is not whole: {bad}") from bad
        made = oci.ImageConfig.from_dict(config["config"])
        image = oci.assemble(
            self.store, plan.reference, layers, made, plan.created, plan.annotations
        )
        size = sum(layer.blob.size for layer in layers)
        self.progress.say("build", f"{len(layers)} layers, {size / 1e6:.1f} MB compressed")
        return image

    def _layers(
        self, tar: tarfile.TarFile, places: list[str], config: dict[str, Any]
    ) -> Iterator[oci.Layer]:
        steps = [step for step in config.get("history") or () if not step.get("empty_layer")]
        diff_ids = config["rootfs"]["diff_ids"]
        for place, diff_id, step in zip(places, diff_ids, steps, strict=True):
            comment = str(step.get("created_by") or "")
            yield compressed(self.store, diff_id, partial(_member, tar, place), comment)


def _member(tar: tarfile.TarFile, name: str) -> BinaryIO:
    member = tar.extractfile(name)
    if member is None:
        raise ValueError(f"{name} is not a file")
    return cast("BinaryIO", member)


@cache
def buildkit_command() -> str | None:
    """Find a docker command that builds with BuildKit; the first on PATH may lack its plugin."""
    for folder in os.get_exec_path():
        command = os.path.join(folder, "docker")  # noqa: PTH118 - a word of a command line
        if os.access(command, os.X_OK):
            asked = subprocess.run(
                [command, "build", "--help"],
                env={**os.environ, "DOCKER_BUILDKIT": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            if asked.returncode == 0 and "--secret" in asked.stdout:  # BuildKit's alone
                return command
    return None


def _has_buildkit(client: DockerClient) -> bool:
    version = client.version()
    names = [component["Name"] for component in version.get("Components") or ()]
    api = tuple(map(int, version["ApiVersion"].split(".")))
    return "Engine" in names and api >= _API_WITH_BUILDKIT


def _by_buildkit(command: str, host: str | None, context: Path, log: _Log) -> str | None:
    """Have a docker command build; it sends those files of the context that the engine lacks."""
    noted = context.with_name("iid")
    env = {**os.environ, "DOCKER_BUILDKIT": "1", **({"DOCKER_HOST": host} if host else {})}
    arguments = ["build", "--progress", "plain", "--iidfile", str(noted), str(context)]
    with subprocess.Popen(
        [command, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                log.add(line)
        except BaseException:
            process.kill()
            raise
    return noted.read_text() if process.returncode == 0 else None


def _by_classic(api: APIClient, context: Path, log: _Log) -> str | None:
    from docker.errors import APIError

    built = None
    try:
        events = api.build(
            fileobj=cast("Any", _tar(context)),
            custom_context=True,
            decode=True,
            rm=True,
            forcerm=True,
            timeout=cast("int", None),  # a step may be silent for as long as it takes
        )
        for event in events:
            log.add(event.get("stream") or "")
            if problem := event.get("error"):
                log.reason = problem.strip()
                return None
            built = (event.get("aux") or {}).get("ID") or built
    except APIError as refused:
        log.reason = str(refused.explanation)
    return built


def _tar(folder: Path) -> Iterator[bytes]:
    """Give a folder as a tar, without a copy of it anywhere."""
    for path in sorted(folder.rglob("*")):
        info = tarfile.TarInfo(str(path.relative_to(folder)))
        info.mode = path.stat().st_mode & 0o777
        if path.is_dir():
            info.type = tarfile.DIRTYPE
            yield info.tobuf(tarfile.PAX_FORMAT)
            continue
        info.size = path.stat().st_size
        yield info.tobuf(tarfile.PAX_FORMAT)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


class _Log:
    """What an engine says while it builds: its steps go to the progress, the end is kept."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        # By the number of the step, "" where there is none: the classic builder's, the command's.
        self._step: dict[str, str] = {}
        self._lines: dict[str, deque[str]] = {}
        self._failed = ""
        self.reason = ""

    def add(self, text: str) -> None:
        """Take some lines."""
        for line in text.splitlines():
            numbered = _NUMBERED.match(line)
            number, said = numbered.groups() if numbered else ("", line)
            if step := _STEP.fullmatch(said):
                self._begin(number, step[1] or step[2])
            elif numbered and said.startswith("ERROR: "):
                self._failed, self.reason = number, said.removeprefix("ERROR: ")
            elif said.strip() and not _PASSED.match(said):
                self._lines.setdefault(number, deque(maxlen=_KEPT)).append(said)

    def _begin(self, number: str, step: str) -> None:
        if self._step.get(number) != step:  # BuildKit says it again when it has said another
            self._step[number] = step
            self._lines.pop(number, None)
            self._progress.say("build", step)

    def failure(self, reference: str) -> ImagesmithError:
        """Say which step failed and why; the log is what that step has printed."""
        step = self._step.get(self._failed)
        lines = self._lines.get(self._failed, ())
        reason = self.reason or (lines[-1] if lines else "it does not say why")
        where = f" at {step!r}" if step else ""
        is_full = "no space left" in "\n".join([reason, *lines])
        return ImagesmithError(
            error(
                "build.engine",
                reference,
                f"the Docker engine stopped{where}: {reason}",
                "free some space on the engine's disk (`docker system df` shows what is there)"
                if is_full
                else "mend the step; what it printed is in the log",
            ),
            log="".join(f"{line}\n" for line in lines),
        )


def _refused(reference: str, why: str) -> ImagesmithError:
    return ImagesmithError(
        error(
            "build.engine",
            reference,
            f"the Docker engine does not give what it has built: {why}",
            "see the engine's log, and build again",
        )
    )
