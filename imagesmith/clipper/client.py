"""A client of any Clipper's REST sides, embedded or real (ucbrise/clipper 0.3-0.4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from imagesmith.clipper.endpoints import Endpoints
from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Sequence


_MANAGEMENT_SECONDS = 30.0
_CONNECT_SECONDS = 10.0  # of a query, whose answer is waited for: its SLO may be half an hour


class Clipper:
    """Speaks to a Clipper's management and query frontends, given by their base URLs.

    A query frontend not given is port 1337 of the management frontend's host.

    Every call raises ImagesmithError: ``reach.clipper`` where nothing, or no Clipper, answers,
    ``register.refused`` with Clipper's own words where it says no.
    """

    def __init__(self, management: str, query: str | None = None) -> None:
        import httpx

        self._management = management.rstrip("/")
        self._query = query
        # trust_env=False: a proxy of the environment would be asked for 127.0.0.1 as well.
        self._http = httpx.Client(trust_env=False, timeout=_MANAGEMENT_SECONDS)

    @classmethod
    def at(cls, endpoints: Endpoints) -> Self:
        """Speak to the Clipper at these endpoints."""
        base = f"http://{endpoints.host}"
        return cls(f"{base}:{endpoints.management}", f"{base}:{endpoints.query}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ping(self) -> None:
        """Return if the management frontend is there."""
        url = f"{self._management}/admin/ping"
        if self._request("GET", url) != "PONG":
            raise _not_clipper(url)

    def add_app(self, name: str, input_type: str, default_output: str, slo_micros: int) -> None:
        """Register an application; ``input_type`` is one of Clipper's names or aliases."""
        self._admin(
            "add_app",
            name=name,
            input_type=input_type,
            default_output=default_output,
            latency_slo_micros=slo_micros,
        )

    def delete_app(self, name: str) -> None:
        """Delete an application."""
        self._admin("delete_app", name=name)

    def add_model(
        self,
        name: str,
        version: str,
        input_type: str,
        image: str | None = None,
        labels: Sequence[str] = (),
        batch_size: int = -1,
    ) -> None:
        """Register a version of a model, which becomes the current one at once."""
        self._admin(
            "add_model",
            model_name=name,
            model_version=version,
            input_type=input_type,
            labels=list(labels),
            container_name=image or "NO_CONTAINER",
            model_data_path="DEPRECATED",
            batch_size=batch_size,
        )

    def delete_versioned_model(self, name: str, version: str) -> None:
        """Delete one version of a model."""
        self._admin("delete_versioned_model", model_name=name, model_version=version)

    def set_model_version(self, name: str, version: str) -> None:
        """Make a registered version the current one."""
        self._admin("set_model_version", model_name=name, model_version=version)

    def add_model_links(self, app: str, model: str) -> None:
        """Let an application be answered by a model."""
        self._admin("add_model_links", app_name=app, model_names=[model])

    def delete_model_links(self, app: str, model: str) -> None:
        """Take a model away from an application."""
        self._admin("delete_model_links", app_name=app, model_names=[model])

    def get_application(self, name: str) -> dict[str, Any] | None:
        """Give an application and its linked models, or None."""
        return self._admin_json("get_application", name=name) or None

    def get_all_applications(self, verbose: bool = True) -> list[Any]:
        """Give the applications: objects, or their names."""
        return list(self._admin_json("get_all_applications", verbose=verbose))

    def get_linked_models(self, app: str) -> list[str]:
        """Give the names of the models linked to an application."""
        return list(self._admin_json("get_linked_models", app_name=app))

    def get_model(self, name: str, version: str) -> dict[str, Any] | None:
        """Give one version of a model, or None."""
        return self._admin_json("get_model", model_name=name, model_version=version) or None

    def get_all_models(self, verbose: bool = True) -> list[Any]:
        """Give every version of every model: objects, or ``name:version``."""
        return list(self._admin_json("get_all_models", verbose=verbose))

    def get_all_containers(self, verbose: bool = True) -> list[Any]:
        """Give the connected replicas: objects, or ``name:version:number``."""
        return list(self._admin_json("get_all_containers", verbose=verbose))

    def predict(self, app: str, value: Any, version: str | None = None) -> dict[str, Any]:
        """Query with one input, as Clipper takes it in JSON (bytes as base64)."""
        return self._predict(app, "input", value, version)

    def predict_batch(
        self, app: str, values: Sequence[Any], version: str | None = None
    ) -> dict[str, Any]:
        """Query with several inputs.

        Gives ``{"batch_predictions": [...]}``; for a batch of one, like Clipper, the prediction.
        """
        return self._predict(app, "input_batch", list(values), version)

    def _query_base(self) -> str:
        if self._query is not None:
            return self._query.rstrip("/")
        host = urlsplit(self._management).hostname or ""
        return f"http://{f'[{host}]' if ':' in host else host}:{Endpoints.query}"

    def _predict(self, app: str, key: str, value: Any, version: str | None) -> dict[str, Any]:
        import httpx

        url = f"{self._query_base()}/{quote(app)}/predict"
        document = {key: value} | ({} if version is None else {"version": version})
        patient = httpx.Timeout(_CONNECT_SECONDS, read=None)
        return dict(_parsed(url, self._request("POST", url, document, patient)))

    def _admin(self, call: str, **fields: Any) -> None:
        self._request("POST", f"{self._management}/admin/{call}", fields)

    def _admin_json(self, call: str, **fields: Any) -> Any:
        url = f"{self._management}/admin/{call}"
        return _parsed(url, self._request("POST", url, fields))

    def _request(self, method: str, url: str, document: Any = None, timeout: Any = None) -> str:
        """Send a request and give the body of the 200."""
        import httpx

        try:
            response = self._http.request(
                method, url, json=document, timeout=timeout or _MANAGEMENT_SECONDS
            )
        except (httpx.TransportError, httpx.InvalidURL) as bad:
            raise ImagesmithError(
                error(
                    "reach.clipper",
                    url,
                    f"Clipper does not answer: {bad}",
                    "start the embedded one with 'imagesmith clipper up', or give the address of "
                    "one that runs",
                )
            ) from bad
        if response.status_code != 200:
            raise _refused(url, response.status_code, response.text)
        return response.text


def _refused(url: str, status: int, text: str) -> ImagesmithError:
    return ImagesmithError(
        error(
            "register.refused",
            url,
            f"Clipper refused with {status}: {text}",
            "change what its words name",
        )
    )


def _not_clipper(url: str) -> ImagesmithError:
    return ImagesmithError(
        error(
            "reach.clipper",
            url,
            "what answers there is not Clipper",
            "give the address of Clipper's management frontend (port 1338 unless it was changed)",
        )
    )


def _parsed(url: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as bad:
        raise _not_clipper(url) from bad
