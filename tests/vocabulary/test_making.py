"""What several builds need is made by one of them; the others wait for exactly that."""

import subprocess
import sys
from threading import Barrier, Thread

import pytest

from imagesmith.store import Store

HOLDER = """
import sys, time
from pathlib import Path
from imagesmith.store import Store
with Store(Path(sys.argv[1])).making("kind", "key"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_many_who_want_one_thing_make_it_once_and_leave_no_lock(store):
    together, made, seen = Barrier(8), [], []

    def want():
        together.wait()
        for key in ("one", "two", "three"):
            with store.making("kind", key):
                if store.recall("kind", key) is None:
                    made.append(key)
                    store.remember("kind", key, len(made))
            seen.append(store.recall("kind", key))

    threads = [Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["one", "three", "two"]
    assert sorted(set(seen)) == [1, 2, 3]
    assert list((store.root / "locks").iterdir()) == []


def test_other_things_are_made_meanwhile(store):
    with store.making("kind", "one"), store.making("kind", "two"), store.making("other", "one"):
        pass


def test_what_fails_is_made_by_the_next(store):
    with pytest.raises(ZeroDivisionError), store.making("kind", "key"):
        raise ZeroDivisionError
    with store.making("kind", "key"):
        pass


def test_nobody_waits_for_one_that_was_killed(store):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.root], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    waiter = Thread(target=lambda: store.folder("x", "y", lambda _folder: None))
    waiter.start()  # something else, so it need not wait
    waiter.join()
    holder.kill()
    holder.wait()
    with store.making("kind", "key"):
        pass
    assert list((store.root / "locks").iterdir()) == []
