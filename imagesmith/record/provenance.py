"""The build record in the words of the field: an in-toto statement of SLSA provenance.

Sources: in-toto attestation framework, Statement v1; SLSA 1.0, "Provenance" (what it has no field
for bears our name before it, as it asks). It is unsigned, and claims no SLSA level.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from imagesmith.image.sbom import SBOM
from imagesmith.store import canonical, hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.record.record import BuildRecord

MEDIA_TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
DOCKERFILE = "Dockerfile"


def statement(record: BuildRecord) -> bytes:
    """Give the statement of a record; the same record gives the same bytes."""
    return canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": record.reference, **_sha256(record.digest)}],
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": "urn:imagesmith:build:1",
                    "externalParameters": {
                        "target": record.target,
                        "reference": record.reference,
                        "builder": record.builder,
                    },
                    "internalParameters": {"python": record.python, "platform": record.platform},
                    "resolvedDependencies": list(_dependencies(record)),
                },
                "runDetails": {
                    "builder": {
                        "id": "urn:imagesmith:builder",
                        "version": {"imagesmith": record.imagesmith},
                    },
                    "metadata": {"startedOn": record.started, "finishedOn": _finished(record)},
                    "byproducts": list(_byproducts(record)),
                },
                "imagesmith_findings": list(record.findings),
                "imagesmith_compared": record.compared,
                "imagesmith_layers": list(record.layers),
            },
        }
    )


def _dependencies(record: BuildRecord) -> Iterator[dict[str, Any]]:
    yield {
        "name": "base",
        **_sha256(record.base_digest),
        "annotations": {"reference": record.base},
    }
    yield {"name": "lock", **_sha256(record.lock)}
    if record.template:
        yield {"name": "template", **_sha256(record.template)}
    if record.revision:
        # Of a project that is dirty, the commit alone is not what was built.
        yield {
            "name": "project",
            "digest": {"gitCommit": record.revision},
            "annotations": {"dirty": record.dirty},
        }


def _byproducts(record: BuildRecord) -> Iterator[dict[str, Any]]:
    yield {"name": SBOM, **_sha256(record.sbom)}
    if record.dockerfile:
        yield {"name": DOCKERFILE, **_sha256(record.dockerfile)}


def _finished(record: BuildRecord) -> str:
    finished = datetime.fromisoformat(record.started) + timedelta(seconds=record.took)
    return finished.strftime("%Y-%m-%dT%H:%M:%SZ")


def _sha256(digest: str) -> dict[str, Any]:
    return {"digest": {"sha256": hex_of(digest)}}
