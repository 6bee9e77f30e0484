"""Starting an image, speaking Clipper's RPC to it from inside, and comparing its answers.

The probe (runtime/probe.py) runs inside the container and plays the frontend on its loopback, so
the container needs no network and nothing of the host (docs/architecture.md, "Verifying").
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.answers import same
from imagesmith.findings import Finding, ImagesmithError, error, warning
from imagesmith.image import oci
from imagesmith.image.sonames import mend
from imagesmith.run.runner import Network
from imagesmith.store import canonical, hex_of, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.capture.bundle import Samples
    from imagesmith.run.runner import Completed, Container, Runner
    from imagesmith.store import Store

RTOL = 1e-6
ANSWERED = "answered"  # facts: an input that an image, by its digest, has been seen to answer
_PORT = 7000
_PATIENCE = 120.0  # seconds until the hello, and for each batch
_END_IS_KNOWN_IN = 2.0  # seconds after what ran in a container ended with it
# What the loader says of a library that it does not find.
_NO_LIBRARY = re.compile(r"(lib[^\s:/]+\.so[^\s:/]*): cannot open shared object file")
_SHOWN = 3  # mismatches that are spelled out


@dataclass(frozen=True)
class Verdict:
    """What was seen: how many answers came, how many were compared, and what to know of it."""

    answered: int
    compared: int
    findings: tuple[Finding, ...]
    remembered: bool = False


def verify(
    image: oci.Image,
    samples: Samples | None,
    runner: Runner,
    store: Store,
    *,
    rtol: float = RTOL,
    compare: bool = True,
    again: bool = False,
) -> Verdict:
    """See that an image serves, and that it answers the samples as the function did.

    Samples go as one batch and one by one. An image that was verified before with the same
    samples is started ``again`` only when that is asked. Raises ImagesmithError with verify.…
    findings and the container's log where it does not serve or answers otherwise.
    """
    batches = _batches(samples)
    expected = _expected(samples) if compare else None
    key = key_of("verdict", image.manifest.digest, batches, expected, rtol)

    def is_known() -> bool:
        return not again and store.recall("verdicts", key) is not None

    known = is_known()
    if not known:
        with store.making("verdicts", key):
            if not (known := is_known()):
                _see(image, batches, expected, runner, rtol)
                store.remember("verdicts", key, {"image": image.manifest.digest})
                if samples is not None:
                    store.remember(ANSWERED, hex_of(image.manifest.digest), samples.inputs[0])
    answered = sum(map(len, batches))
    compared = answered if expected else 0
    return Verdict(answered, compared, tuple(_not_compared(image, samples, expected)), known)


def _batches(samples: Samples | None) -> list[list[Any]]:
    if samples is None:
        return []
    return [list(samples.inputs), *([value] for value in samples.inputs)]


def _expected(samples: Samples | None) -> list[list[str]] | None:
    if samples is None or samples.answers is None:
        return None
    return [list(samples.answers.batch), *([answer] for answer in samples.answers.single)]


def _see(
    image: oci.Image,
    batches: list[list[Any]],
    expected: list[list[str]] | None,
    runner: Runner,
    rtol: float,
) -> None:
    container = runner.start(image, env={"CLIPPER_IP": "127.0.0.1"}, network=Network.NONE)
    try:
        report = _probe(container, image, batches)
        findings = [*_failures(report, image), *_mismatches(report, expected, batches, rtol)]
        if findings:
            raise ImagesmithError(*findings, log=container.log())
    finally:
        container.stop(grace=1.0)


def _probe(container: Container, image: oci.Image, batches: list[list[Any]]) -> dict[str, Any]:
    """Run the probe inside; its report, or ImagesmithError where it could not finish."""
    question = {
        "input_type": image.config.labels[oci.LABEL_INPUT_TYPE],
        "batches": batches,
        "imports": json.loads(image.config.labels.get(oci.LABEL_MODULES, "[]")),
        "port": _PORT,
        "timeout": _PATIENCE,
    }
    interpreter = (*image.config.entrypoint, *image.config.cmd)[0]
    argv = [interpreter, "-m", "imagesmith.runtime.probe"]
    limit = _PATIENCE * (2 + len(batches))
    try:
        done = container.execute(argv, canonical(question), timeout=limit)
    except TimeoutError as late:
        finding = error(
            "verify.silent",
            image.reference,
            f"the image did not finish answering within {limit:.0f} s",
            "look at its log above; a function that waits for a network waits for ever here",
        )
        raise ImagesmithError(finding, log=container.log()) from late
    try:
        return _report(done.stdout, batches)
    except (ValueError, RecursionError) as bad:
        raise ImagesmithError(_unfinished(container, image, done), log=container.log()) from bad


def _report(printed: bytes, batches: list[list[Any]]) -> dict[str, Any]:
    """Read the probe's report; ValueError for what it would not say, since an image may lie."""
    report = json.loads(printed)
    if not isinstance(report, dict) or not isinstance(report.get("imports", {}), dict):
        raise ValueError("not a report")
    if "error" not in report:
        answers = report.get("answers")
        if not isinstance(answers, list) or not all(map(_are_texts, answers)):
            raise ValueError("not answers")
        if [len(answer) for answer in answers] != [len(batch) for batch in batches]:
            raise ValueError("not the answers to what was asked")
    return report


def _are_texts(answers: object) -> bool:
    return isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)


def _unfinished(container: Container, image: oci.Image, done: Completed) -> Finding:
    """Say why the probe printed no report: its container died under it, or it could not run."""
    patience = time.monotonic() + _END_IS_KNOWN_IN
    while container.status() is None and time.monotonic() < patience:
        time.sleep(0.01)
    if container.status() is not None:
        return _crashed(container, image)
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return error(
        "verify.probe",
        image.reference,
        f"the probe inside the image ended with status {done.status}: {' '.join(last)}",
        "the environment inside the image is not whole: lock it again",
    )


def _crashed(container: Container, image: oci.Image) -> Finding:
    """Say why a container died, in the words of its own last line."""
    lines = [line.strip() for line in container.log().splitlines() if line.strip()]
    reason = lines[-1] if lines else "it printed nothing"
    return error(
        "verify.crashed",
        image.reference,
        f"the container ended with status {container.status()}: {reason}",
        _bring_library(reason, image)
        or "its log above has the whole story; mend the function and build again",
    )


def _bring_library(reason: object, image: oci.Image) -> str:
    """Say what brings the library that is missing, if that is the reason; else ""."""
    lacking = _NO_LIBRARY.search(str(reason))
    return f"{lacking[1]} is missing: {mend(lacking[1], image.config)}" if lacking else ""


def _failures(report: dict[str, Any], image: oci.Image) -> Iterator[Finding]:
    for module, reason in sorted(report.get("imports", {}).items()):
        yield error(
            "verify.import",
            module,
            f"{module} cannot be imported inside the image: {reason}",
            _bring_library(reason, image)
            or "the locked versions do not fit each other: pin another one and lock again",
        )
    if reason := report.get("error"):
        yield error(
            "verify.failed",
            image.reference,
            f"the image does not serve: {reason}",
            "its log above has the whole story; mend the function and build again",
        )


def _mismatches(
    report: dict[str, Any],
    expected: list[list[str]] | None,
    batches: list[list[Any]],
    rtol: float,
) -> list[Finding]:
    """Find the answers that differ from the function's own; the first few are spelled out."""
    if expected is None or "error" in report:
        return []
    wrong = [
        (value, want, got)
        for batch, wants, gots in zip(batches, expected, report["answers"], strict=True)
        for value, want, got in zip(batch, wants, gots, strict=True)
        if not same(want, got, rtol)
    ]
    return [
        error(
            "verify.mismatch",
            json.dumps(value)[:80],
            f"the function answered {want!r} here, the image answers {got!r}"
            + (f" ({len(wrong)} such answers)" if len(wrong) > _SHOWN else ""),
            "if both are right raise --rtol, or take --no-compare; else make the function"
            " independent of time, chance and host",
        )
        for value, want, got in wrong[:_SHOWN]
    ]


def _not_compared(
    image: oci.Image, samples: Samples | None, expected: list[list[str]] | None
) -> Iterator[Finding]:
    if expected is None:
        what = "no answers to compare with" if samples else "no samples"
        yield warning(
            "verify.not-compared",
            image.reference,
            f"the image serves, but its answers were not compared: {what}",
            "give --samples FILE when you build: a JSON list of inputs",
        )
