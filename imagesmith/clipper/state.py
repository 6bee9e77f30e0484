"""What Clipper knows: applications, models, their links and the connected replicas. No I/O.

The texts, and the order of the checks, are those of ucbrise/clipper 0.4's management frontend
(src/management/src/management_frontend.hpp), so that a client meets here what it meets there.
Two of its known defects are not repeated: a deleted application is served no longer, and its link
goes with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.runtime.wire import InputType

ADAPTIVE_BATCHES = -1  # the batch size by which a model leaves it to Clipper


class Refused(Exception):  # noqa: N818 (an answer of Clipper's, not a fault)
    """Clipper says no; the text is the body of its 400."""


@dataclass(frozen=True)
class Application:
    """A named endpoint: its input type, and what it answers when nothing came in time."""

    name: str
    input_type: InputType
    default_output: str
    latency_slo_micros: int


@dataclass(frozen=True)
class Model:
    """One version of a model, as it was registered."""

    name: str
    version: str
    input_type: InputType
    labels: tuple[str, ...]
    container_name: str
    data_path: str
    batch_size: int


@dataclass(frozen=True)
class Replica:
    """One connected container; ``number`` counts from 0 in each version, never used twice."""

    model_name: str
    model_version: str
    number: int
    input_type: InputType

    def as_dict(self) -> dict[str, Any]:
        """Give the replica as get_container answers it."""
        return {
            "model_id": f"{self.model_name}:{self.model_version}",
            "model_name": self.model_name,
            "model_version": self.model_version,
            "model_replica_id": self.number,
            "input_type": self.input_type.label,
        }

    def __str__(self) -> str:
        return f"{self.model_name}:{self.model_version}:{self.number}"


class State:
    """The records by name. Methods are named, and take their fields, as the REST calls do.

    State-changing methods give the text of the 200; every method raises Refused for a 400.
    """

    def __init__(self) -> None:
        self._apps: dict[str, Application] = {}
        self._models: dict[tuple[str, str], Model] = {}
        self._current: dict[str, str] = {}  # outlives its version, as in Clipper
        self._links: dict[str, str] = {}  # application to model; outlives the model
        self._replicas: list[Replica] = []
        self._numbers: Counter[tuple[str, str]] = Counter()

    def application(self, name: str) -> Application | None:
        """Give an application by name."""
        return self._apps.get(name)

    def model(self, name: str, version: str) -> Model | None:
        """Give one version of a model."""
        return self._models.get((name, version))

    def model_of(self, app: Application, version: str | None) -> Model | None:
        """Give the model that answers an application: its current version, or the one asked for.

        None where none is linked or the current version is gone. Raises Refused for a version
        that was not registered.
        """
        name = self._links.get(app.name)
        if name is None:
            return None
        if version is None:
            return self._current_model(name)
        if (name, version) not in self._models:
            raise Refused(f"Requested version: {version} does not exist for model: {name}")
        return self._models[name, version]

    def connect(self, name: str, version: str, input_type: InputType) -> Replica:
        """Take a new replica in; its model need not be registered yet."""
        replica = Replica(name, version, self._numbers[name, version], input_type)
        self._numbers[name, version] += 1
        self._replicas.append(replica)
        return replica

    def disconnect(self, replica: Replica) -> None:
        """Forget a replica."""
        self._replicas.remove(replica)

    def add_app(
        self, name: str, input_type: InputType, default_output: str, latency_slo_micros: int
    ) -> str:
        """Register an application. Like Clipper's, takes an empty name and a negative SLO."""
        if name in self._apps:
            raise Refused(f"application '{name}' already exists")
        self._apps[name] = Application(name, input_type, default_output, latency_slo_micros)
        return f"Successfully added application with name '{name}'"

    def delete_app(self, name: str) -> str:
        """Delete an application and its link."""
        if name not in self._apps:
            raise Refused(f"Application '{name}' does not exist")
        del self._apps[name]
        self._links.pop(name, None)
        return f"Successfully deleted application with name '{name}'"

    def add_model_links(self, app_name: str, model_names: list[str]) -> str:
        """Link a model, one at most, to an application."""
        app = self._apps.get(app_name)
        if app is None:
            raise Refused(f"No app with name '{app_name}' exists.")
        for name in model_names:
            self._check_fits(name, app)
        if not model_names:
            raise Refused(
                "Please provide the name of the model that you want to link to the application "
                f"'{app_name}'"
            )
        if len(model_names) > 1:
            raise Refused(
                "Applications must be linked with at most one model. "
                f"Attempted to add links to {len(model_names)} models."
            )
        return self._link(app_name, model_names[0])

    def delete_model_links(self, app_name: str, model_names: list[str]) -> str:
        """Take links away."""
        if app_name not in self._apps:
            raise Refused(f"No app with name {app_name} exists.")
        for name in model_names:
            if self._links.get(app_name) != name:
                raise Refused(
                    f"Cannot remove nonexistent link between app {app_name} and model {name}"
                )
        if model_names:
            del self._links[app_name]
        return "Success!"

    def add_model(
        self,
        model_name: str,
        model_version: str,
        labels: list[str],
        input_type: InputType,
        container_name: str,
        model_data_path: str,
        batch_size: int,
    ) -> str:
        """Register a version of a model, which is at once the current one."""
        if batch_size < 1 and batch_size != ADAPTIVE_BATCHES:
            raise Refused("The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1")
        _check_characters("model name", model_name)
        _check_characters("model version", model_version)
        for label in labels:
            _check_characters("label", label)
        if (model_name, model_version) in self._models:
            raise Refused(
                f"model with name '{model_name}' and version '{model_version}' already exists"
            )
        self._check_links_fit(model_name, input_type)
        self._models[model_name, model_version] = Model(
            model_name,
            model_version,
            input_type,
            tuple(labels),
            container_name,
            model_data_path,
            batch_size,
        )
        self._current[model_name] = model_version
        return (
            f"Successfully added model with name '{model_name}' and input type '{input_type.label}'"
        )

    def delete_versioned_model(self, model_name: str, model_version: str) -> str:
        """Delete one version of a model; links to the model stay."""
        if self._models.pop((model_name, model_version), None) is None:
            raise Refused(
                f"model with name '{model_name}' and version '{model_version}' does not exist"
            )
        return f"Successfully deleted model with name '{model_name}' and version '{model_version}'"

    def set_model_version(self, model_name: str, model_version: str) -> str:
        """Make a registered version the current one."""
        if all(name != model_name for name, _version in self._models):
            raise Refused(f"Cannot set version for nonexistent model '{model_name}'")
        if (model_name, model_version) not in self._models:
            raise Refused(
                f"Cannot set non-existent version '{model_version}' "
                f"for model with name '{model_name}'"
            )
        self._current[model_name] = model_version
        return f"Successfully set model with name '{model_name}' to version '{model_version}'"

    def get_application(self, name: str) -> dict[str, Any]:
        """Give an application and its links, {} if there is none."""
        app = self._apps.get(name)
        if app is None:
            return {}
        return {
            "name": app.name,
            "input_type": app.input_type.label,
            "default_output": app.default_output,
            "latency_slo_micros": app.latency_slo_micros,
            "linked_models": list(self._linked(name)),
        }

    def get_all_applications(self, verbose: bool) -> list[Any]:
        """Give the applications: names, or what get_application gives."""
        return [self.get_application(name) if verbose else name for name in self._apps]

    def get_linked_models(self, app_name: str) -> list[str]:
        """Give the names of an application's models."""
        if app_name not in self._apps:
            raise Refused(f"No application with name '{app_name}' exists.")
        return list(self._linked(app_name))

    def get_model(self, model_name: str, model_version: str) -> dict[str, Any]:
        """Give one version of a model, {} if there is none; the batch size is not told."""
        model = self._models.get((model_name, model_version))
        if model is None:
            return {}
        return {
            "model_name": model.name,
            "model_version": model.version,
            "input_type": model.input_type.label,
            "labels": list(model.labels) or [""],  # what Clipper makes of an empty list
            "container_name": model.container_name,
            "model_data_path": model.data_path,
            "is_current_version": self._current[model.name] == model.version,
        }

    def get_all_models(self, verbose: bool) -> list[Any]:
        """Give the models: ``name:version``, or what get_model gives."""
        return [self.get_model(*key) if verbose else ":".join(key) for key in self._models]

    def get_container(self, model_name: str, model_version: str, replica_id: int) -> dict[str, Any]:
        """Give a connected replica, {} if there is none."""
        wanted = (model_name, model_version, replica_id)
        return next(
            (
                r.as_dict()
                for r in self._replicas
                if (r.model_name, r.model_version, r.number) == wanted
            ),
            {},
        )

    def get_all_containers(self, verbose: bool) -> list[Any]:
        """Give the connected replicas: ``name:version:number``, or what get_container gives."""
        return [replica.as_dict() if verbose else str(replica) for replica in self._replicas]

    def _current_model(self, name: str) -> Model | None:
        return self._models.get((name, self._current.get(name, "")))

    def _linked(self, app_name: str) -> Iterator[str]:
        if app_name in self._links:
            yield self._links[app_name]

    def _check_fits(self, name: str, app: Application) -> None:
        model = self._current_model(name)
        if model is None:
            raise Refused(f"No model with name '{name}' exists.")
        if model.input_type is not app.input_type:
            raise Refused(
                f"Model with name '{name}' has incompatible input_type "
                f"'{model.input_type.label}'. Requested app to link to has input_type "
                f"'{app.input_type.label}'."
            )

    def _link(self, app_name: str, name: str) -> str:
        linked = self._links.get(app_name)
        if linked == name:
            raise Refused(f"The model with name '{name}' is already linked to '{app_name}'")
        if linked is not None:
            raise Refused(f"A model with name {linked} is already linked to '{app_name}'.")
        self._links[app_name] = name
        return f"Successfully linked model with name '{name}' to application '{app_name}'"

    def _check_links_fit(self, name: str, input_type: InputType) -> None:
        for app_name, linked in self._links.items():
            app = self._apps[app_name]
            if linked == name and app.input_type is not input_type:
                raise Refused(
                    f"Model with name '{name}' is already linked to app '{app_name}' using input "
                    f"type '{app.input_type.label}'. The input type you provided for a new "
                    f"version of the model, '{input_type.label}', is not compatible."
                )


def _check_characters(what: str, value: str) -> None:
    if "," in value or ":" in value:
        raise Refused(f"Invalid {what} supplied: {value}. Contains one of: ',', ':'")
