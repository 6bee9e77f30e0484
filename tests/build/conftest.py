import pytest
from build_plan import store_with

from imagesmith.image.unpack import unpacked
from imagesmith.store import Store


@pytest.fixture
def shop(base, tmp_path):
    """Give a store of the test's own that has the base."""
    layer = base.layers[0]
    unpacked(Store(base.blobs.parents[1]), base.blob(layer.blob.digest), layer)
    return store_with(base, tmp_path / "store")
