"""The command line's manners: stdout is the result, an end has its status, help comes at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.cli.command import Result, command
from imagesmith.findings import ImagesmithError, error, warning

COMMAND = Path(sys.executable).with_name("imagesmith")
COMMANDS = [
    *("capture", "lock", "render", "build", "pack", "verify", "push", "inspect", "diff", "run"),
    *("deploy", "base", "cache", "clipper"),
]


def run(*arguments, **options):
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, check=False, **options
    )


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines()[1:]] == (
        COMMANDS
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    assert run(name, "--help").returncode == 0


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "sys.argv = ['imagesmith', '--help']\n"
        "from imagesmith.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "zmq", "httpx", "rich", "starlette", "uvicorn", "cloudpickle"}
    heavy |= {"installer", "jinja2"}
    assert heavy.isdisjoint(done.stderr.split())


def test_the_version_is_printed():
    assert run("--version").stdout.startswith("imagesmith 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "x.py:f", "--name", "x", "--sign", "true {reference}"],
        ["build", "x.py:f", "--name", "x", "--push", "localhost:1/x", "--sign", ""],
        ["push", "x:1", "localhost:1/x", "--sign", "true"],
    ],
)
def test_what_could_not_be_signed_is_said_before_anything_is_done(arguments, tmp_path):
    done = run(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert [found["code"] for found in json.loads(done.stdout)["findings"]] == ["usage.sign"]


@pytest.mark.parametrize("arguments", [["bild"], ["build", "--nome", "x"], ["build"], ["base"]])
def test_what_the_command_line_does_not_know_is_a_usage_error(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == "" or done.stdout.startswith("Usage")
    assert "Traceback" not in done.stderr


def test_a_failure_is_one_json_document_with_every_finding():
    done = run("build", "nowhere.py:f", "--name", "Iris", "--json")
    document = json.loads(done.stdout)
    assert document["exit"] == done.returncode == 2
    assert {finding["code"] for finding in document["findings"]} == {
        "usage.name",
        "capture.no-file",
    }


def test_the_log_can_be_json_lines():
    done = run("build", "nowhere.py:f", "--name", "m", "--log-format", "json")
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["finding"]["code"] == "capture.no-file"


def test_a_log_format_that_is_none_is_a_usage_error():
    done = run("build", "nowhere.py:f", "--name", "m", "--log-format", "xml")
    assert done.returncode == 2


class TestEnds:
    """How a command of the app ends, whatever happens in it."""

    @pytest.fixture
    def end(self, capsys):
        import typer

        def run_it(function, *options):
            app = typer.Typer()
            command(app, "it")(function)
            with pytest.raises(SystemExit) as ended:
                app([*options], prog_name="it")
            return ended.value.code, *capsys.readouterr()

        return run_it

    def test_well(self, end):
        def it(console) -> Result:
            console.say("stage", "something was done")
            console.find(warning("verify.x", "subject", "message", "remedy"))
            return Result("the result", {"key": "value"})

        status, out, err = end(it)
        assert (status, out) == (0, "the result\n")
        assert "something was done" in err
        assert "warning: message" in err

    def test_with_findings_and_a_log(self, end):
        def it(console) -> Result:
            raise ImagesmithError(error("verify.x", "it", "message", "remedy"), log="last words")

        status, out, err = end(it)
        assert (status, out) == (7, "")
        assert "last words" in err
        assert "    do:  remedy" in err

    def test_with_a_fault_of_ours(self, end):
        def it(console) -> Result:
            raise ZeroDivisionError("oh")

        status, out, err = end(it)
        assert (status, out) == (1, "")
        assert "ZeroDivisionError: oh" in err
        assert "Traceback" not in err

    def test_with_a_fault_of_ours_as_json(self, end):
        def it(console) -> Result:
            raise ZeroDivisionError("oh")

        status, out, _ = end(it, "--json")
        assert status == json.loads(out)["exit"] == 1

    def test_with_a_fault_that_is_being_debugged(self, end):
        def it(console) -> Result:
            raise ZeroDivisionError("oh")

        status, _, err = end(it, "--debug")
        assert status == 1
        assert "Traceback" in err

    def test_interrupted(self, end):
        def it(console) -> Result:
            raise KeyboardInterrupt

        assert end(it)[0] == 130
