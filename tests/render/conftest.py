"""A plan and its store, for what can be said of a context without building it."""

import pytest
from plans import add_package, add_wheel, make_plan, tiny_base

from imagesmith.store import Store


@pytest.fixture
def shop(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def wheels(shop, tmp_path):
    return [add_wheel(shop, tmp_path, name) for name in ("anvil", "feather", "leaf")]


@pytest.fixture
def plan(shop, wheels, tmp_path):
    return make_plan(tiny_base(shop), wheels, [add_package(shop, tmp_path)])


@pytest.fixture
def template(tmp_path):
    """Give a function that writes a template."""

    def write(text, name="mine.j2"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write
