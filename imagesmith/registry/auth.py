"""Logging in: docker's configuration and credential helpers, basic and bearer authentication.

Sources: docker's config.json and the docker-credential protocol (both by the docker library);
distribution's token.md and oauth.md. Nothing here puts a secret into a text.
"""

from __future__ import annotations

import base64
import binascii
import threading
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from imagesmith.findings import ImagesmithError, error
from imagesmith.registry.problems import DeniedError, RefusedError
from imagesmith.registry.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx


@dataclass(frozen=True)
class Login:
    """Who somebody is to a registry: user and password, or a token to get tokens with."""

    user: str = field(repr=False)
    secret: str = field(repr=False)
    is_token: bool = False

    @property
    def basic(self) -> str:
        """The Authorization header that carries user and password."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


def login(host: str) -> Login | None:
    """Find the user's login to a registry, where `docker login` has put it; None if there is none.

    Raises ImagesmithError (usage.login) where the configuration or its helper does not work.
    """
    import docker.auth
    from docker.errors import DockerException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a helper that is not there is an error just below
            found: dict[str, Any] = docker.auth.load_config().resolve_authconfig(host) or {}
    except (DockerException, ValueError, KeyError, TypeError, OSError, binascii.Error) as bad:
        # What it says may hold what a helper has printed.
        raise ImagesmithError(
            error(
                "usage.login",
                host,
                f"docker's login to {host} cannot be read ({type(bad).__name__})",
                "mend ~/.docker/config.json (or DOCKER_CONFIG) and the credential helper that it"
                f" names, or `docker login {host}` again",
            )
        ) from None
    values = {key.lower(): value for key, value in found.items() if value}
    if token := values.get("identitytoken"):
        return Login("", str(token), is_token=True)
    if "username" in values:
        return Login(str(values["username"]), str(values.get("password", "")))
    return None


class Access:
    """The Authorization header of one walk; made when a registry first asks for it."""

    def __init__(self, host: str, scopes: Sequence[str]) -> None:
        self._host = host
        self._scopes = tuple(scopes)
        self._lock = threading.Lock()
        self.header: str | None = None

    def answer(
        self, challenges: Sequence[str], used: str | None, send: Callable[..., httpx.Response]
    ) -> None:
        """Make the header that a 401 asks for; ``used`` is the one that was not good enough.

        Raises DeniedError where nothing better can be had, RefusedError, and what ``send`` raises.
        """
        with self._lock:
            if self.header != used:  # another thread has been here
                return
            who = login(self._host)
            scheme, parameters = _chosen(challenges)
            if scheme == "bearer":
                self.header = "Bearer " + self._token(parameters, who, send)
            elif who is None or who.is_token:
                raise DeniedError("it asks for a login, and there is none")
            elif used == who.basic:
                raise DeniedError("it does not take the login")
            else:
                self.header = who.basic

    def _token(
        self, asked: dict[str, str], who: Login | None, send: Callable[..., httpx.Response]
    ) -> str:
        realm = asked.get("realm", "")
        if not _is_safe(realm):
            raise RefusedError(401, "and sends the login to a place that is not https")
        scopes = list(dict.fromkeys([*self._scopes, *asked.get("scope", "").split()]))
        service = asked.get("service", "")
        if who and who.is_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": who.secret,
                "service": service,
                "scope": " ".join(scopes),
                "client_id": "imagesmith",
            }
            response = send("POST", realm, data=form)
        else:
            headers = {"Authorization": who.basic} if who else {}
            parameters = {"service": service, "scope": scopes}
            response = send("GET", realm, params=parameters, headers=headers)
        if response.status_code in (400, 401, 403):
            raise DeniedError("it does not take the login" if who else "it asks for a login")
        if not response.is_success:
            raise RefusedError(response.status_code, "when it is asked for a token")
        return _token_in(response)


def _token_in(response: httpx.Response) -> str:
    try:
        data = response.json()
        token = data.get("token") or data["access_token"]
    except (ValueError, KeyError, AttributeError, RecursionError):
        token = None
    if not (isinstance(token, str) and token.isascii() and token.isprintable()):
        raise RefusedError(response.status_code, "without a token in it")
    return token


def _is_safe(realm: str) -> bool:
    try:
        parts = urlsplit(realm)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))


def _chosen(challenges: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Give the challenge to answer, bearer before basic, with its parameters (RFC 9110, 11.6)."""
    parsed = {}
    for challenge in challenges:
        scheme, _, rest = challenge.strip().partition(" ")
        pairs = [pair for pair in parse_http_list(rest) if "=" in pair]
        parsed[scheme.lower()] = {
            key.lower(): value for key, value in parse_keqv_list(pairs).items()
        }
    for scheme in ("bearer", "basic"):
        if scheme in parsed:
            return scheme, parsed[scheme]
    raise DeniedError("it names no way to log in that imagesmith knows")
