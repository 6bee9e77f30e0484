"""The audit of a pickle: what it names is told from its opcodes alone, whatever bytes it is."""

import _compat_pickle
import argparse
import collections
import copyreg
import datetime
import decimal
import email.message
import enum
import fractions
import io
import logging
import pathlib
import pickle
import pickletools
import string
import uuid

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.capture import agent

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def read(data):
    return list(agent.PickleReader(data))


def named(data):
    return {what for kind, what in read(data) if kind == "module"}


class Harmless:
    """What everything that a pickle names becomes: it takes all, and does nothing."""

    def __init__(self, *args, **kwargs):
        pass

    __call__ = __setitem__ = append = extend = add = update = __init__

    def __setstate__(self, state):
        pass


class Asked(pickle.Unpickler):
    """Notes what modules it is asked for, by their names of today, and gives what is harmless."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.modules = set()
        self.is_old = not (data[:1] == b"\x80" and data[1:2] > b"\x02")

    def find_class(self, module, name):
        if self.is_old:
            today = _compat_pickle.IMPORT_MAPPING.get(module, module)
            module, _ = _compat_pickle.NAME_MAPPING.get((module, name), (today, name))
        self.modules.add(module)
        # cloudpickle imports modules by a function of its own.
        return self.modules.add if name == "subimport" else Harmless


def asked(data):
    unpickler = Asked(data)
    unpickler.load()
    return unpickler.modules


class Colour(enum.Enum):
    RED = 1


class Old:
    """An object of a class with __getinitargs__, which the first protocols write with INST."""


THINGS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.fractions()
    | st.datetimes()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from(
        [
            *(collections.OrderedDict, collections.Counter("ab"), email.message.Message, len),
            *(argparse.Namespace(a=1), datetime.date(2020, 1, 1), decimal.Decimal("1.5")),
            *(fractions.Fraction(1, 2), pathlib.PurePosixPath("/a/b"), uuid.UUID(int=5)),
            *(
                Colour.RED,
                Old(),
                logging.getLogger("some.where"),
                string.Template("$a"),
                bytearray(9),
            ),
            *(range(5), slice(1), Ellipsis, NotImplemented, type, {1, 2}),
        ]
    ),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.lists(inner).map(lambda items: [items, items])
    ),
)


@given(THINGS, st.sampled_from(PROTOCOLS))
def test_of_any_object_it_names_what_unpickling_would_import(thing, protocol):
    data = pickle.dumps(thing, protocol)
    assert named(data) == asked(data)


@given(THINGS, st.sampled_from(PROTOCOLS))
def test_an_optimised_pickle_and_that_of_plain_python_are_no_different(thing, protocol):
    plain = io.BytesIO()
    pickle._Pickler(plain, protocol).dump(thing)
    for data in (plain.getvalue(), pickletools.optimize(pickle.dumps(thing, protocol))):
        assert named(data) == asked(data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_function_by_value_is_no_different(protocol):
    def outer(x):
        return fractions.Fraction(x), collections.deque, email.message

    data = cloudpickle.dumps([outer, outer, lambda: decimal], protocol)
    assert named(data) == asked(data)
    assert {"fractions", "collections", "email.message", "decimal"} <= named(data)


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
PIECES = st.one_of(
    st.sampled_from(OPCODES),
    st.sampled_from(
        [b"cos\nsystem\n", b"(ios\nsystem\n", b"\x8c\x02os", b"\x8c\x06system", b"\x93"]
    ),
    st.sampled_from(
        [b"q\x00", b"h\x00", b"p0\n", b"g0\n", b"\x94", b"2", b"0", b"(", b"t", b"\x85"]
    ),
    st.sampled_from(
        [b"X\x02\x00\x00\x00os", b"U\x06system", b"S'os'\n", b"Vos\n", b"R", b"b", b"."]
    ),
    st.sampled_from([b"\x95" + bytes([n, 0, 0, 0, 0, 0, 0, 0]) for n in (1, 5, 8, 12)]),
    st.binary(max_size=4),
)


@given(st.binary() | st.lists(PIECES).map(b"".join))
def test_no_bytes_make_it_raise_anything_but_its_own_error(data):
    try:
        assert all(len(pair) == 2 for pair in read(data))
    except agent.BadPickle as fault:
        assert str(fault)


@given(THINGS, st.sampled_from(PROTOCOLS), st.data())
def test_a_pickle_that_is_cut_short_or_changed_is_told(thing, protocol, data):
    whole = pickle.dumps(thing, protocol)
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(agent.BadPickle):
        read(whole[:at])
    changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=3)) + whole[at + 1 :]
    try:
        read(changed)
    except agent.BadPickle as fault:
        assert str(fault)


@settings(max_examples=1000)
@given(st.lists(PIECES).map(lambda pieces: b"".join([*pieces, b"."])))
def test_whatever_can_be_unpickled_and_is_not_refused_names_no_more_than_it_told(data):
    """Not even what was made by hand to hide something."""
    unpickler = Asked(data)
    try:
        told = named(data)
        unpickler.load()
    except Exception:
        return
    assert unpickler.modules <= told


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x04",
        b"\x80\x09N.",
        b"\x80\x04h\x00.",
        b"g99999999999999999999999999\n.",
        b"p" + b"9" * 100_000 + b"\n.",
        b"(((((.",
        b"\x80\x04]\x8c\x02os\x93.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fos.",
        b"T\xff\xff\xff\xffos.",
        b"cos\n",
        b"c\xff\n\xff\n.",
        b"Pan-id\n.",
        b"\x82\xf0.",
        b"S'\\x\n.",
        b"\x80\x04(\x93.",
    ],
)
def test_what_is_no_whole_pickle_is_told(data):
    with pytest.raises(agent.BadPickle):
        read(data)


def test_a_pickle_that_makes_up_a_name_is_refused():
    """Here upper() would give the module's name; only by running it could one know which."""
    data = b"\x80\x04\x8c\x08builtins\x8c\x03str\x93\x8c\x02os\x85R\x8c\x06system\x93."
    with pytest.raises(agent.BadPickle, match="makes up"):
        read(data)


def test_a_name_that_is_hidden_behind_a_frame_is_refused():
    """The Unpickler goes on at the frame's end, in the middle of a name: it imports s, not os."""
    data = b"\x80\x04\x95\x05\0\0\0\0\0\0\0C\x01acos\nsystem\n."
    assert asked(data) == {"s"}
    with pytest.raises(agent.BadPickle):
        read(data)


def test_nothing_is_run_by_reading(tmp_path):
    class Hostile:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "harm",)

    assert "pathlib" in named(pickle.dumps(Hostile()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [1, 300, 70_000])
def test_an_extension_code_stands_for_what_is_registered(code):
    copyreg.add_extension("fractions", "Fraction", code)
    try:
        data = pickle.dumps(fractions.Fraction(1, 2), 2)
        assert b"fractions" not in data
        assert "fractions" in named(data)
    finally:
        copyreg.remove_extension("fractions", "Fraction", code)
    with pytest.raises(agent.BadPickle, match="extension"):
        read(data)


def test_memos_of_every_form_are_followed():
    """Written as text, in one byte and in four, and numbered by themselves."""
    for put, get in [(b"p7\n", b"g7\n"), (b"q\x07", b"h\x07"), (b"r\x07\0\0\0", b"j\x07\0\0\0")]:
        data = b"\x80\x04\x8c\x02os" + put + b"0" + get + b"\x8c\x06system\x93."
        assert named(data) == {"os"}
    assert named(b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93.") == {"os"}
    assert named(b"\x80\x04\x8c\x02os2\x93.") == {"os"}


def test_versions_that_objects_record_are_told():
    state = {"coef": 1.5, "_sklearn_version": "1.3.2"}
    for protocol in PROTOCOLS:
        data = pickle.dumps([state, {"_sklearn_version": "1.3.2"}], protocol)
        assert ("version", ("scikit-learn", "1.3.2")) in read(data)


def test_pickles_in_a_pickle_are_read_as_well():
    inner = pickle.dumps([fractions.Fraction(1, 2), {"_sklearn_version": "1.3.2"}])
    data = pickle.dumps({"inner": pickle.dumps(inner)})
    assert named(data) == set()
    assert ("held", "fractions") in read(data)
    assert ("version", ("scikit-learn", "1.3.2")) in read(data)


def test_what_only_begins_like_a_pickle_is_just_bytes():
    assert [kind for kind, _ in read(pickle.dumps(b"\x80\x04cos\nsystem\nx."))] == []
