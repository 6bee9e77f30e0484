"""The container of a pickled function, and containers of one's own."""

import sys
import types

import numpy as np
import pytest

from imagesmith.runtime.wire import InputType


class TestServing:
    @pytest.mark.parametrize(
        ("input_type", "raw", "answer"),
        [
            (InputType.BYTES, b"\xff", b"int8 (1, 1) [-1]"),
            (InputType.INTEGERS, np.int32(7).tobytes(), b"int32 (1, 1) [7]"),
            (InputType.FLOATS, np.float32(0.5).tobytes(), b"float32 (1, 1) [0.5]"),
            (InputType.DOUBLES, np.float64(0.5).tobytes(), b"float64 (1, 1) [0.5]"),
            (InputType.STRINGS, b"Z\xc3\xbcrich", b"object (1,) Z\xc3\xbcrich"),
        ],
    )
    def test_the_function_gets_the_captured_input_type(
        self, serve, frontend, input_type, raw, answer
    ):
        serve(lambda inputs: [f"{inputs.dtype} {inputs.shape} {inputs[0]}"], input_type.label)
        assert frontend.meet().input_type is input_type
        assert frontend.ask(input_type, raw) == [answer]

    def test_clippers_own_word_on_the_input_type_counts(self, serve, frontend):
        serve(lambda inputs: inputs, "doubles", CLIPPER_INPUT_TYPE="ints")
        assert frontend.meet().input_type is InputType.INTEGERS

    def test_strings_can_be_had_as_bytes(self, serve, frontend):
        serve(lambda inputs: map(repr, inputs), "strings", strings="bytes")
        frontend.meet()
        assert frontend.ask(InputType.STRINGS, b"a") == [b"b'a'"]

    def test_local_modules_come_before_others_of_their_names(self, serve, frontend):
        def answer(inputs):
            import colorsys

            return [colorsys.HERE] * len(inputs)

        serve(answer, modules={"colorsys": "HERE = 'the local one'"})
        frontend.meet()
        assert frontend.ask(InputType.DOUBLES, bytes(8)) == [b"the local one"]

    def test_it_starts_as_images_start_it(self, start, model, frontend):
        model(lambda inputs: [sum(row) for row in inputs])
        start("-m", "imagesmith.runtime.closure_container")
        frontend.meet()
        assert frontend.ask(InputType.DOUBLES, np.ones(3).tobytes()) == [b"3.0"]


class TestLoading:
    def test_a_missing_module_is_named_with_a_status_of_its_own(self, serve, monkeypatch):
        module = types.ModuleType("module_of_the_builder")
        exec("def answer(inputs): return inputs", module.__dict__)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        container = serve(module.answer)
        assert container.exit_status() == 3
        assert "Traceback (most recent call last):" in container.lines
        assert container.lines[-1] == (
            "Cannot import module_of_the_builder: "
            "ModuleNotFoundError: No module named 'module_of_the_builder'"
        )

    def test_any_other_fault_is_told_in_a_line(self, start, model):
        (model(print) / "func.pkl").write_bytes(b"no pickle")
        container = start("-m", "imagesmith.runtime.closure_container")
        assert container.exit_status() == 1
        assert container.lines[-1].startswith("Cannot load the function: UnpicklingError: ")

    def test_a_model_without_metadata_is_told_in_a_line(self, start, model):
        (model(print) / "metadata.json").unlink()
        container = start("-m", "imagesmith.runtime.closure_container")
        assert container.exit_status() == 1
        assert container.lines[-1].startswith("Cannot read the model's metadata: FileNotFound")


class TestContainersOfOnesOwn:
    MODEL = """
from imagesmith.runtime import rpc

class Model(rpc.ModelContainerBase):
    def predict_doubles(self, inputs):
        return [str(sum(item)) for item in inputs]

service = rpc.RPCService()
"""

    @pytest.fixture
    def own(self, start, tmp_path):
        def own(main, *argv, **environment):
            program = tmp_path / "own_container.py"
            program.write_text(self.MODEL + main)
            return start(str(program), *argv, **environment)

        return own

    def test_a_model_is_served_as_the_environment_says(self, own, frontend, tmp_path):
        container = own("print(service.get_model_path()); service.start(Model())")
        hello = frontend.meet()
        assert (hello.name, hello.version, hello.input_type) == ("m", "v1", InputType.DOUBLES)
        assert frontend.ask(InputType.DOUBLES, np.ones(2).tobytes()) == [b"2.0"]
        assert container.lines[:2] == [
            str(tmp_path / "model"),
            "Using default input type: doubles",
        ]

    def test_a_model_is_served_as_the_older_arguments_say(self, own, frontend):
        own(
            "import sys; service.start(Model(), 'localhost', int(sys.argv[1]), 'old', 2, 'd')",
            str(frontend.port),
            CLIPPER_MODEL_NAME=None,
            CLIPPER_MODEL_VERSION=None,
            CLIPPER_PORT=None,
        )
        hello = frontend.meet()
        assert (hello.name, hello.version, hello.input_type) == ("old", "2", InputType.DOUBLES)
        assert frontend.ask(InputType.DOUBLES, np.ones(2).tobytes()) == [b"2.0"]

    def test_the_input_type_can_be_asked(self, own):
        container = own("print(service.get_input_type())", CLIPPER_INPUT_TYPE="strings")
        assert container.exit_status() == 0
        assert container.lines == ["strings"]
