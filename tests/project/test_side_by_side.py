"""Models side by side: one that fails stops no other, an interrupt stops all."""

from threading import Barrier, Event

import pytest

from imagesmith.findings import ImagesmithError, error
from imagesmith.pipeline import BuildWish, CaptureWish, Workshop
from imagesmith.progress import Silent
from imagesmith.project import build as building
from imagesmith.project.model import Model
from imagesmith.store import Store


def model(title):
    return Model(title, CaptureWish(f"{title}.py:f", title), BuildWish())


@pytest.fixture
def built(monkeypatch, tmp_path):
    """Give a function that builds models by the given function instead of the pipeline."""

    def build(made, *titles, at_a_time=2):
        monkeypatch.setattr(building, "made", made)
        monkeypatch.setattr(building, "_AT_A_TIME", at_a_time)
        shop = Workshop(Store(tmp_path), None, Silent())
        failed = []
        outcomes = building.build_all(
            list(map(model, titles)), lambda _: shop, lambda *told: failed.append(told)
        )
        return outcomes, failed

    return build


def test_they_are_made_at_the_same_time_and_told_in_the_files_order(built):
    together = Barrier(2)

    def made(one, _shop):
        together.wait(timeout=60)
        return one.title

    assert built(made, "b", "a") == (["b", "a"], [])


def test_one_that_fails_stops_no_other_and_is_told_at_once(built):
    problem = ImagesmithError(error("build.x", "x", "it broke", "mend it"))

    def made(one, _shop):
        if one.title == "bad":
            raise problem
        return one.title

    outcomes, failed = built(made, "a", "bad", "b")
    assert outcomes == ["a", problem, "b"]
    assert [(one.title, why) for one, why in failed] == [("bad", problem)]


def test_an_interrupt_ends_the_others_at_the_next_thing_that_they_tell(built):
    working, ended = Event(), Event()

    def made(one, shop):
        if one.title == "interrupted":
            working.wait(timeout=60)
            raise KeyboardInterrupt
        working.set()
        try:
            while True:
                shop.progress.say("stage", "text")
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        built(made, "interrupted", "busy")
    assert ended.is_set()
