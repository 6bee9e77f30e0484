import uuid

import pytest
from faulty_proxy import faulty_proxy
from tiny_image import image, store

from imagesmith.registry import client

__all__ = ["image", "store"]


@pytest.fixture
def nobody_is_logged_in(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(client, "_PAUSES", (0.01, 0.02, 0.03))


@pytest.fixture
def proxy(registry):
    with faulty_proxy(registry.address) as proxy:
        yield proxy


@pytest.fixture
def name():
    return f"tests/{uuid.uuid4().hex}"  # a registry of its own, as far as an image can see
