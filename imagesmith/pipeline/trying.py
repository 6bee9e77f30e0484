"""Starting images to see that they answer: by whom, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.capture.bundle import Capture
    from imagesmith.image.oci import Image
    from imagesmith.pipeline.wishes import BuildWish, Workshop
    from imagesmith.progress import Progress
    from imagesmith.run.runner import Runner
    from imagesmith.store import Store
    from imagesmith.verify.verify import Verdict


def runner_for(store: Store, progress: Progress, *, by_engine: bool) -> Runner:
    """Give what starts containers: imagesmith itself, or the Docker engine.

    The engine does ``by_engine``, and where this machine lets imagesmith start none.
    """
    from imagesmith.engine import is_in_reach
    from imagesmith.run.rootfs import RootfsRunner

    rootfs = RootfsRunner(store)
    if by_engine or (not rootfs.can_start() and is_in_reach()):
        from imagesmith.publish.engine import EnginePublisher
        from imagesmith.run.docker import DockerRunner

        return DockerRunner(EnginePublisher(store, progress))
    return rootfs


def verified(image: Image, capture: Capture, wish: BuildWish, shop: Workshop) -> int:
    """See that the image answers; how many answers were held against the function's own."""
    from imagesmith.verify.verify import verify

    verdict = verify(
        image,
        capture.samples,
        shop.runner,
        shop.store,
        rtol=wish.rtol,
        compare=wish.compare,
    )
    _tell(verdict, shop.progress)
    return verdict.compared


def verify_image(
    image: Image, samples: Path | None, shop: Workshop, *, rtol: float, compare: bool
) -> Verdict:
    """Start and ask an image that is built; the samples' file may hold answers (a bundle's does).

    Raises ImagesmithError: usage.samples, verify.…
    """
    from imagesmith.capture.samples import load
    from imagesmith.image import oci
    from imagesmith.verify.verify import verify

    label = image.config.labels[oci.LABEL_INPUT_TYPE]
    given = load(samples, label) if samples else None
    verdict = verify(image, given, shop.runner, shop.store, rtol=rtol, compare=compare, again=True)
    _tell(verdict, shop.progress)
    return verdict


def _tell(verdict: Verdict, progress: Progress) -> None:
    for finding in verdict.findings:
        progress.find(finding)
    seen = f"{verdict.answered} answers, {verdict.compared} as the function's own"
    again = ", seen before" if verdict.remembered else ""
    progress.say("verify", f"{seen if verdict.answered else 'it serves'}{again}")
