"""The embedded Clipper's query frontend: ``POST /APP/predict``, as ucbrise/clipper 0.4 has it.

Better than Clipper's own: an application that was deleted answers 404 at once (there it is served
for ever), so does an unknown path (there the connection is closed), ``version`` for an application
without a model gives the default (there every query hangs), and an input that Clipper would take
but that spoils a replica, such as an empty one, is refused, with words that name it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from imagesmith.clipper import body
from imagesmith.clipper.dispatch import NoAnswer
from imagesmith.clipper.state import Refused
from imagesmith.runtime import batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from imagesmith.clipper.dispatch import Dispatcher
    from imagesmith.clipper.state import State
    from imagesmith.runtime.wire import InputType

_SCHEMA = """
  {
   "input" := [double] | [int] | [string] | [byte] | [float],
  }
"""


def query_frontend(state: State, dispatcher: Dispatcher) -> Starlette:
    """Make the ASGI application that answers queries."""
    query_ids = itertools.count()

    async def predict(request: Request) -> Response:
        app = state.application(request.path_params["app"])
        if app is None:
            return _respond({"error": "Not found", "cause": "no such application"}, 404)
        try:
            query = _read(await request.body(), app.input_type)
            model = state.model_of(app, query.version)
        except (body.BadBody, batch.InputError) as bad:
            return _respond({"error": "Json error", "cause": str(bad)}, 400)
        except Refused as bad:
            return _respond({"error": "Query processing error", "cause": str(bad)}, 400)
        seconds = app.latency_slo_micros / 1e6
        answers = await dispatcher.predict(model, query.inputs, seconds)
        predictions = [_prediction(next(query_ids), a, app.default_output) for a in answers]
        return _respond(predictions[0] if query.single else {"batch_predictions": predictions})

    return Starlette(
        routes=[
            Route(path, predict, methods=["POST"])
            for path in ("/{app:path}/predict", "/{app:path}/predict/")
        ]
    )


@dataclass(frozen=True)
class _Query:
    """A request's inputs, each its raw bytes; ``single`` if its answer stands alone."""

    inputs: Sequence[bytes]
    single: bool
    version: str | None


def _read(data: bytes, input_type: InputType) -> _Query:
    """Read a request; raises BadBody or InputError."""
    document = _document(data)
    if "input" in document:
        values = [document["input"]]
    elif "input_batch" in document:
        values = body.ARRAY.read("input_batch", document["input_batch"])
    else:
        raise body.BadBody("JSON object does not have required keys input or input_batch")
    version = body.STRING.read("version", document["version"]) if "version" in document else None
    return _Query(batch.frames_of(values, input_type.label), len(values) == 1, version)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = body.parse(data)
    except body.BadBody as bad:
        raise body.BadBody(body.with_schema(bad, _SCHEMA)) from bad
    if not isinstance(document, dict):
        raise body.BadBody("JSON schema invalid")
    return document


def _prediction(query_id: int, answer: bytes | NoAnswer, default_output: str) -> dict[str, Any]:
    if isinstance(answer, NoAnswer):
        return {
            "query_id": query_id,
            "output": _output(default_output.encode()),
            "default": True,
            "default_explanation": answer,
        }
    return {"query_id": query_id, "output": _output(answer), "default": False}


def _output(text: bytes) -> Any:
    """Give an output's text as the JSON value that it is, else as a JSON string."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.decode(errors="replace")
    return orjson.Fragment(text)  # as it came: nothing is lost in large numbers or deep nesting


def _respond(answer: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(answer), status, media_type="application/json")
