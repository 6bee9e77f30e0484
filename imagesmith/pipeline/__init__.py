"""The walk down the street, as verbs; each stage is imported where it is walked."""

from imagesmith.pipeline.building import (
    build,
    builder_for,
    captured,
    carried_out,
    check_builder,
    project_of,
    push,
    render_bundle,
)
from imagesmith.pipeline.locking import base_for, lock_of, python_of, resolved, wanted
from imagesmith.pipeline.packs import build_pack, pack, render_pack
from imagesmith.pipeline.planning import created, plan_for, runtime_folder
from imagesmith.pipeline.trying import runner_for, verify_image
from imagesmith.pipeline.wishes import BuildWish, CaptureWish, Workshop

__all__ = [
    "BuildWish",
    "CaptureWish",
    "Workshop",
    "base_for",
    "build",
    "build_pack",
    "builder_for",
    "captured",
    "carried_out",
    "check_builder",
    "created",
    "lock_of",
    "pack",
    "plan_for",
    "project_of",
    "push",
    "python_of",
    "render_bundle",
    "render_pack",
    "resolved",
    "runner_for",
    "runtime_folder",
    "verify_image",
    "wanted",
]
