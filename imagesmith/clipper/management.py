"""The embedded Clipper's management frontend: state.py over HTTP, as ucbrise/clipper 0.4 has it.

Where Clipper's own frontend closes the connection without a word (an unknown path or method, an
input type that it does not know) this one answers 404, 405 or 400.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from imagesmith.clipper import body
from imagesmith.clipper.state import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from imagesmith.clipper.state import State

_MODEL = {"model_name": body.STRING, "model_version": body.STRING}
_LINKS = {"app_name": body.STRING, "model_names": body.STRINGS}
_VERBOSE = {"verbose": body.BOOLEAN}

# The fields of each call, by the name of its path under /admin/ and of its method of State.
CALLS: Mapping[str, Mapping[str, body.Kind]] = {
    "add_app": {
        "name": body.STRING,
        "input_type": body.INPUT_TYPE,
        "default_output": body.STRING,
        "latency_slo_micros": body.INTEGER,
    },
    "delete_app": {"name": body.STRING},
    "add_model_links": _LINKS,
    "delete_model_links": _LINKS,
    "add_model": {
        **_MODEL,
        "labels": body.STRINGS,
        "input_type": body.INPUT_TYPE,
        "container_name": body.STRING,
        "model_data_path": body.STRING,
        "batch_size": body.INTEGER,
    },
    "delete_versioned_model": _MODEL,
    "set_model_version": _MODEL,
    "get_all_applications": _VERBOSE,
    "get_application": {"name": body.STRING},
    "get_linked_models": {"app_name": body.STRING},
    "get_all_models": _VERBOSE,
    "get_model": _MODEL,
    "get_all_containers": _VERBOSE,
    "get_container": {**_MODEL, "replica_id": body.INTEGER},
}


def management_frontend(state: State) -> Starlette:
    """Make the ASGI application that serves the calls under /admin/."""
    calls = [
        Route(f"/admin/{name}", _endpoint(getattr(state, name), fields), methods=["POST"])
        for name, fields in CALLS.items()
    ]
    return Starlette(routes=[Route("/admin/ping", _ping), *calls])


def _endpoint(
    call: Callable[..., Any], fields: Mapping[str, body.Kind]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            answer = call(**body.read(await request.body(), fields))
        except (body.BadBody, Refused) as bad:
            return _respond(str(bad), 400)
        return _respond(answer)

    return endpoint


async def _ping(_request: Request) -> Response:
    return _respond("PONG")


def _respond(answer: Any, status: int = 200) -> Response:
    """Give a text as it is and other data as JSON; Clipper calls both application/json."""
    content = answer if isinstance(answer, str) else orjson.dumps(answer)
    return Response(content, status, media_type="application/json")
