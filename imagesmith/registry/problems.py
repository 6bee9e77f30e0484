"""What can go wrong with a registry, and the finding that tells it."""

from __future__ import annotations

from imagesmith.findings import Finding, error

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class RegistryError(Exception):
    """A request that did not do; the text says why."""

    passing = False  # whether the same request may do in a moment
    pause = 0.0  # seconds that the registry asks to be left alone


class UnreachableError(RegistryError):
    """No answer, or none that came to its end."""

    @property
    def untrusted(self) -> bool:
        """Whether TLS failed on the registry's certificate."""
        return "CERTIFICATE" in str(self)

    @property
    def passing(self) -> bool:  # type: ignore[override]
        """A certificate does not mend itself."""
        return not self.untrusted


class DeniedError(RegistryError):
    """The registry, or who gives out its tokens, does not let this user do that."""


class RefusedError(RegistryError):
    """Any other answer than the one that was needed."""

    def __init__(self, status: int, text: str, pause: float = 0.0) -> None:
        super().__init__(f"it answers {status}" + (f", {text}" if text else ""))
        self.passing = status in _PASSING
        self.pause = pause


class OtherDigestError(RegistryError):
    """What the registry holds, or gives, is not what it was asked for or given."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, got {found}")


class StoppedError(Exception):
    """The walk as a whole was interrupted."""


def finding(bad: RegistryError, subject: object, host: str, family: str) -> Finding:
    """Tell a problem; ``family`` is the walk's own: ``publish`` to push, ``build`` to pull."""
    match bad:
        case UnreachableError():
            return error(
                "reach.registry",
                host,
                f"the registry {host} cannot be reached: {bad}",
                "put your company's certificate into the system's store, or name its file in"
                " SSL_CERT_FILE"
                if bad.untrusted
                else "check the name, the network and the proxy, then try again: what is there"
                " already is not sent twice",
            )
        case DeniedError():
            return error(
                f"{family}.denied",
                subject,
                f"the registry {host} does not allow it: {bad}",
                f"`docker login {host}` as somebody who may, then try again",
            )
        case OtherDigestError():
            return error(
                f"{family}.digest",
                subject,
                f"the registry {host} has something else: {bad}",
                "do not use what is there; ask who keeps the registry, and whoever stands between",
            )
        case _ if bad.passing:
            return error(
                "reach.registry",
                host,
                f"the registry {host} does not do its work: {bad}",
                "try again later: what is there already is not sent twice",
            )
        case _:
            return error(
                f"{family}.refused",
                subject,
                f"the registry {host} refuses it: {bad}",
                "check the repository's name; who keeps the registry can say what it takes",
            )
