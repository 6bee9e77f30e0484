"""An image that is too large is refused before anything else, with what would make it smaller."""

from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspected_images import image_of, installed

from imagesmith import pipeline
from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image.layer import plain_size
from imagesmith.inspect.contents import Part
from imagesmith.inspect.limit import Users, check, findings, suggestions
from imagesmith.inspect.owners import Kind, Owner
from imagesmith.pipeline import building
from imagesmith.progress import Silent
from imagesmith.record import make
from imagesmith.resolve.needed import FUNCTION, RUNTIME
from imagesmith.store import Store

USERS = Users(
    {
        "pandas": (FUNCTION,),
        "pytz": ("pandas",),
        "numpy": (FUNCTION, RUNTIME, "pandas"),
        "sklearn": (FUNCTION,),
        "scipy": (FUNCTION, "sklearn"),
    }
)
SIZES = {"pandas": 60, "pytz": 5, "numpy": 65, "sklearn": 40, "scipy": 130}


def parts(sizes=SIZES):
    return [Part(Owner(Kind.PIP, name, "1.0"), size, 0) for name, size in sizes.items()]


def offered(users, over, sizes=SIZES):
    return [(offer.subject, offer.saves) for offer in suggestions(parts(sizes), users, over)]


def test_what_is_there_for_one_distributions_sake_goes_along_with_it():
    assert offered(USERS, 1)[0] == ("pandas", 65)


def test_what_others_need_as_well_goes_only_after_them():
    """scipy is the function's own and sklearn's: only where both are left out it is gone."""
    assert offered(USERS, 200) == [("pandas", 65), ("sklearn", 40), ("scipy", 130)]


def test_no_more_is_suggested_than_the_limit_asks_for():
    assert offered(USERS, 65) == [("pandas", 65)]
    assert offered(USERS, 66) == [("pandas", 65), ("sklearn", 40)]


def test_what_the_runtime_needs_is_never_suggested():
    assert "numpy" not in dict(offered(USERS, 10**6))


def test_what_nothing_needs_comes_first():
    users = Users(USERS.needed_by, frozenset({"notebook", "not-in-the-image"}))
    first = next(suggestions(parts({**SIZES, "notebook": 7}), users, 10))
    assert first.saves == 7
    assert "leave --deps all out" in first.remedy
    assert "notebook (7 B)" in first.message


names = st.sampled_from("abcdefgh")
graphs = st.dictionaries(
    names, st.sets(names | st.sampled_from([FUNCTION, RUNTIME]), min_size=1).map(tuple)
)


@given(graphs, st.dictionaries(names, st.integers(1, 1000)))
def test_what_is_saved_together_is_what_would_be_gone(needed_by, sizes):
    users = Users(needed_by)
    offers = list(suggestions(parts(sizes), users, 10**9))
    gone = users.gone({offer.subject for offer in offers})
    assert sum(offer.saves for offer in offers) == sum(sizes.get(name, 0) for name in gone)


@pytest.mark.parametrize(
    ("over", "words"), [(100, "saves 105 B in all, which is enough"), (236, "1 B too little")]
)
def test_it_is_said_whether_the_suggestions_are_enough(over, words):
    first, *offers = findings("m:1", 500, 500 - over, parts(), USERS)
    assert first.code == "build.too-large"
    assert f"500 B uncompressed, {over} B more than" in first.message
    assert "scipy 1.0 with 130 B (for the function, sklearn)" in first.message
    assert words in first.remedy
    assert {offer.code for offer in offers} == {"build.smaller"}
    assert "--allow-missing pandas: saves 65 B" in offers[0].remedy


def test_where_nothing_can_be_left_out_that_is_said():
    (only,) = findings("m:1", 500, 400, parts(), Users({}))
    assert "nothing of it can be left out" in only.remedy


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def image(store):
    return image_of(store, [installed("pandas", "1.0", {"pandas.py": bytes(10000)})], "m:1")


def nobody_asked():
    raise AssertionError("nobody need be asked")


def test_an_image_of_just_the_limit_is_let_through_and_nothing_of_it_is_read(store, image):
    (layer,) = image.layers
    size = plain_size(store, layer, image.blob(layer.blob.digest))
    image.blob(layer.blob.digest).unlink()
    check(image, size, store, nobody_asked)


def test_a_byte_more_is_too_large(store, image):
    (layer,) = image.layers
    size = plain_size(store, layer, image.blob(layer.blob.digest))
    with pytest.raises(ImagesmithError) as refused:
        check(image, size - 1, store, lambda: USERS)
    assert refused.value.exit_code is ExitCode.BUILD
    codes = [finding.code for finding in refused.value.findings]
    assert codes == ["build.too-large", "build.smaller"]


class Destination:
    """Notes what reaches it."""

    def __init__(self):
        self.seen = []

    def check(self):
        pass

    def delivery(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def layer(self, layer):
        self.seen.append(layer)

    def publish(self, image):
        self.seen.append(image)
        return "here"


def test_nothing_that_is_too_large_is_sent_verified_or_published(monkeypatch, store, image):
    class Builder:
        def build(self, _plan, made):
            for layer in image.layers:
                made(layer)
            return image

    verified = []
    monkeypatch.setattr(building, "_users", lambda *_: USERS)
    monkeypatch.setattr(building, "verified", lambda *_: verified.append(1))
    monkeypatch.setattr(make, "record", lambda *_, **__: None)
    shop = pipeline.Workshop(store, SimpleNamespace(is_engine=False), Silent())
    destination = Destination()
    made = SimpleNamespace(plan=SimpleNamespace(base=None), capture=None)
    build = partial(pipeline.carried_out, Builder(), made, publisher=destination, shop=shop)
    with pytest.raises(ImagesmithError):
        build(pipeline.BuildWish(max_size=10))
    assert (destination.seen, verified) == ([], [])
    build(pipeline.BuildWish(max_size=10**6))
    assert (destination.seen, verified) == ([image], [1])
