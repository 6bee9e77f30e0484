"""Two environments held against each other: what moved, came, went, and changed hands."""

import pytest

from imagesmith.capture.environment import CondaPackage, Distribution, Environment
from imagesmith.diff import Change, Part, changes, picture
from imagesmith.findings import ImagesmithError
from imagesmith.resolve.files import write
from imagesmith.resolve.lock import Lock, LockedPackage, LockedWheel
from imagesmith.resolve.platform import Target
from imagesmith.store import Store

DIGEST = "sha256:" + "0" * 64


def of_pip(version, size=None):
    return Part("pip", version, size)


def of_conda(version, size=None):
    return Part("conda", version, size)


def test_what_came_went_moved_and_changed_hands_is_told_by_name():
    before = {"a": of_pip("1"), "b": of_pip("1"), "c": of_pip("1"), "d": of_pip("1")}
    after = {"b": of_pip("2"), "c": of_conda("1"), "d": of_pip("1"), "e": of_pip("1")}
    found = [(change.name, change.kind) for change in changes(before, after)]
    assert found == [("a", "removed"), ("b", "moved"), ("c", "swapped"), ("e", "added")]


def test_sizes_alone_are_no_difference():
    assert changes({"a": of_pip("1", 10)}, {"a": of_pip("1", 20)}) == ()


def test_a_change_is_plain_data():
    assert Change("a", of_pip("1", 5), None).as_dict() == {
        "name": "a",
        "kind": "removed",
        "before": {"manager": "pip", "version": "1", "size": 5},
        "after": None,
    }


@pytest.fixture
def lock():
    wheel = LockedWheel(
        "alpha",
        "2.0",
        "alpha-2.0-py3-none-any.whl",
        "https://host/alpha-2.0-py3-none-any.whl",
        DIGEST,
    )
    url = "https://host/c/linux-64/prometheus_client-1.0-0.conda"
    package = LockedPackage(
        "prometheus_client", "1.0", "0", "linux-64", url.rpartition("/")[2], url, DIGEST, "", ()
    )
    return Lock(Target("3.11", "2.36"), (wheel,), (package,))


def test_a_lock_is_read_from_its_folder(lock, tmp_path):
    write(lock, tmp_path / "lock")
    found = picture(str(tmp_path / "lock"), Store(tmp_path / "store"))
    assert found == {"alpha": of_pip("2.0"), "prometheus-client": of_conda("1.0")}


def test_what_conda_brought_stands_under_the_name_that_pip_has_for_it(monkeypatch, tmp_path):
    torch = Distribution("torch", "2.1", (), ("torch",), None, False, "conda", False, 7)
    package = CondaPackage("pytorch", "2.1", "0", "linux-64", "", (), ("torch",), (), None, 9)
    environment = Environment(
        "3.11.1", "cpython", "linux-x86_64", None, "conda", (torch,), (package,)
    )
    monkeypatch.setattr("imagesmith.capture.prefix.read_prefix", lambda _: (environment, ()))
    (tmp_path / "prefix").mkdir()
    found = picture(str(tmp_path / "prefix"), Store(tmp_path / "store"))
    assert found == {"torch": of_conda("2.1", 9)}


def test_what_is_none_of_them_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    for text in (str(tmp_path / "empty"), "nosuch:1"):
        with pytest.raises(ImagesmithError):
            picture(text, Store(tmp_path / "store"))
