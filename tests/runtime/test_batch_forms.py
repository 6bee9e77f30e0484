"""Inputs and outputs take the forms that Clipper's REST, wire and containers give them."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.runtime import batch
from imagesmith.runtime.batch import InputError, OutputError, batch_of, frames_of, outputs_of


class TestFrames:
    @pytest.mark.parametrize(
        ("label", "value", "raw"),
        [
            ("doubles", [1.5, -2.0], np.array([1.5, -2.0], "<f8").tobytes()),
            ("floats", [1.5, 0.1], np.array([1.5, 0.1], "<f4").tobytes()),
            ("integers", [1, -(2**31)], np.array([1, -(2**31)], "<i4").tobytes()),
            ("strings", "Zürich", b"Z\xc3\xbcrich"),
            ("bytes", "AAH/", b"\x00\x01\xff"),
        ],
    )
    def test_each_type_has_its_raw_bytes(self, label, value, raw):
        assert frames_of([value, value], label) == [raw, raw]

    @pytest.mark.parametrize(
        ("label", "value", "fault"),
        [
            ("doubles", [1.0, 5], "item 1 is 5, an integer: write 5.0 instead of 5"),
            ("floats", [5], "write 5.0 instead of 5"),
            ("doubles", [True], "item 0 is True, not a number"),
            ("doubles", [float("nan")], "item 0 is nan, which JSON cannot hold"),
            ("floats", [1e39], "beyond the range of 32-bit floats"),
            ("doubles", 1.0, "1.0 is no array"),
            ("doubles", [], "the array is empty"),
            ("integers", [1.0], "item 0 is 1.0, not an integer"),
            ("integers", [False], "item 0 is False, not an integer"),
            ("integers", [2**31], "item 0 is 2147483648, beyond 32 bits"),
            ("integers", [], "the array is empty"),
            ("strings", ["a"], r"\['a'\] is no string"),
            ("strings", "", "the string is empty"),
            ("strings", "\ud800", "lone surrogates"),
            ("bytes", "no base64!", "the string is not base64"),
            ("bytes", "AAH", "the string is not base64"),
            ("bytes", "", "the base64 string is empty"),
            ("bytes", [1], r"\[1\] is no base64 string"),
        ],
    )
    def test_what_clipper_refuses_is_refused_in_plain_words(self, label, value, fault):
        with pytest.raises(InputError, match=f"^input 0: .*{fault}") as refused:
            frames_of([value], label)
        assert "\n" not in str(refused.value)

    def test_numbers_whose_sum_is_beyond_all_numbers_are_taken(self):
        assert frames_of([[1e308] * 3], "doubles") == [np.array([1e308] * 3).tobytes()]

    def test_all_bad_inputs_are_named_at_once(self):
        with pytest.raises(InputError) as refused:
            frames_of(["a", 1, "b", 2], "strings")
        assert str(refused.value) == "input 1: 1 is no string; input 3: 2 is no string"

    def test_of_many_bad_inputs_the_first_are_named(self):
        with pytest.raises(InputError, match=r"^input 0: .*; input 2: .*; and 7 more$"):
            frames_of([[]] * 10, "doubles")

    @given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1)))
    def test_numbers_arrive_as_they_were_written(self, values):
        arrays = batch_of(frames_of(values, "doubles"), "doubles")
        assert [array.tolist() for array in arrays] == values


class TestBatch:
    @pytest.mark.parametrize(
        ("label", "dtype"),
        [("bytes", "int8"), ("integers", "int32"), ("floats", "float32"), ("doubles", "float64")],
    )
    def test_equal_lengths_give_one_array(self, label, dtype):
        rows = np.array([[1, 2, 3], [4, 5, 6]], dtype)
        received = batch_of([row.tobytes() for row in rows], label)
        assert received.dtype == dtype
        np.testing.assert_array_equal(received, rows)

    def test_a_single_input_is_a_row(self):
        assert batch_of([np.zeros(4).tobytes()], "doubles").shape == (1, 4)

    def test_different_lengths_give_an_array_of_arrays(self):
        received = batch_of([np.zeros(1).tobytes(), np.ones(2).tobytes()], "doubles")
        assert (received.shape, received.dtype) == ((2,), object)
        assert [array.tolist() for array in received] == [[0.0], [1.0, 1.0]]

    def test_bytes_are_signed(self):
        assert batch_of([b"\x00\xff"], "bytes").tolist() == [[0, -1]]

    @pytest.mark.parametrize("lengths", [(2, 2), (1, 2)])
    def test_the_function_may_write_to_its_inputs(self, lengths):
        frames = [np.zeros(length).tobytes() for length in lengths]
        for array in batch_of(frames, "doubles"):
            array += 1.0
        assert batch_of(frames, "doubles")[0].tolist() == [0.0] * lengths[0]

    def test_strings_are_str(self):
        received = batch_of([b"Z\xc3\xbcrich", b"Bern"], "strings")
        assert (received.shape, received.dtype) == ((2,), object)
        assert received.tolist() == ["Zürich", "Bern"]

    def test_strings_are_bytes_if_so_wished(self):
        assert batch_of([b"Z\xc3\xbcrich"], "strings", "bytes").tolist() == [b"Z\xc3\xbcrich"]

    def test_a_string_that_is_not_utf8_is_read_all_the_same(self):
        assert batch_of([b"a\xff"], "strings").tolist() == ["a\ufffd"]

    def test_a_piece_of_a_number_is_refused(self):
        with pytest.raises(InputError, match="an input of 9 bytes is no whole number of doubles"):
            batch_of([bytes(8), bytes(9)], "doubles")

    def test_no_inputs_give_an_empty_array(self):
        assert len(batch_of([], "doubles")) == len(batch_of([], "strings")) == 0

    def test_inputs_without_items_give_empty_rows(self):
        assert batch_of([b"", b""], "doubles").shape == (2, 0)


class TestOutputs:
    @pytest.mark.parametrize(
        "answers",
        [[1, 2], (1, 2), np.array([1, 2]), (n for n in (1, 2)), ["1", b"2"], {1: 0, 2: 0}],
    )
    def test_any_iterable_of_the_right_length_will_do(self, answers):
        assert outputs_of(answers, 2) == ["1", "2"]

    def test_bytes_are_read_as_text(self):
        assert outputs_of([b"Z\xc3\xbcrich"], 1) == ["Zürich"]

    @pytest.mark.parametrize(
        ("answers", "fault", "kind"),
        [
            (
                "ab",
                "the function returned a string; it must return a list with one answer for ",
                "not-a-list",
            ),
            (b"ab", "the function returned bytes; it must return a list", "not-a-list"),
            (None, "the function returned None; it must return a list", "not-a-list"),
            (1.5, "the function returned a single float; it must return a list", "not-a-list"),
            (
                np.array(1.5),
                "the function returned a single ndarray; it must return a list",
                "not-a-list",
            ),
            ([1], "the function returned 1 answers for 2 inputs", "wrong-count"),
            ([1, 2, 3], "the function returned 3 answers for 2 inputs", "wrong-count"),
            ([1, b"\xff"], "answer 1 is bytes that are not utf-8 text", "not-text"),
        ],
    )
    def test_other_answers_are_refused_in_plain_words(self, answers, fault, kind):
        with pytest.raises(OutputError, match=f"^{fault}") as refused:
            outputs_of(answers, 2)
        assert refused.value.kind == kind

    def test_an_error_of_the_functions_own_is_left_as_it_is(self):
        def answers():
            yield 1
            raise TypeError("the function's own")

        with pytest.raises(TypeError, match="the function's own"):
            outputs_of(answers(), 2)


class TestLoadedAlone:
    """The capture loads this one file by its path, in the user's interpreter."""

    def test_it_needs_neither_imagesmith_nor_numpy(self):
        script = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("batch", sys.argv[1])
batch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(batch)
assert batch.frames_of([[1.0]], "doubles") and batch.outputs_of([1], 1) == ["1"]
assert not {"imagesmith", "numpy", "zmq"} & set(sys.modules)
"""
        subprocess.run([sys.executable, "-I", "-c", script, batch.__file__], check=True)

    def test_it_is_python_3_8(self):
        ast.parse(Path(batch.__file__).read_text(), feature_version=(3, 8))
