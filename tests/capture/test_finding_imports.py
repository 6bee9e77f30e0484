"""Which imports are found in a module's source, and in a function's code, without running them."""

import sys
import textwrap

import pytest

from imagesmith.capture import agent


def found(source, module="pkg.sub.mod", package="pkg.sub"):
    finder = agent.ImportFinder(module, package)
    finder.visit(agent.ast.parse(textwrap.dedent(source)))
    return finder.found


def names(source, **where):
    return {one.name for one in found(source, **where)}


def optional(source):
    return {one.name for one in found(source) if one.optional}


PLACES = {
    "if": "if x:\n    import a",
    "elif": "if x:\n    pass\nelif y:\n    import a",
    "else": "if x:\n    pass\nelse:\n    import a",
    "try": "try:\n    import a\nfinally:\n    pass",
    "except": "try:\n    pass\nexcept ValueError:\n    import a",
    "try's else": "try:\n    pass\nexcept ValueError:\n    pass\nelse:\n    import a",
    "finally": "try:\n    pass\nfinally:\n    import a",
    "with": "with x:\n    import a",
    "async with": "async def f():\n    async with x:\n        import a",
    "for": "for x in y:\n    import a",
    "for's else": "for x in y:\n    pass\nelse:\n    import a",
    "while": "while x:\n    import a",
    "a function": "def f():\n    def g():\n        import a",
    "an async function": "async def f():\n    import a",
    "a class": "class C:\n    class D:\n        import a",
    "a method": "class C:\n    def f(self):\n        import a",
    "a lambda": "f = lambda: __import__('a')",
    "a default": "def f(x=__import__('a')): pass",
    "a decorator": "@__import__('a').wraps\ndef f(): pass",
    "a comprehension": "x = [importlib.import_module('a') for _ in y]",
    "a generator": "x = any(importlib.import_module('a') for _ in y)",
    "an f-string": "x = f\"{__import__('a').b}\"",
    "an argument": "f(g(__import__('a')))",
    "one line": "x = 1; import a",
    "match": "match x:\n    case 1:\n        import a",
    "a guard": "match x:\n    case 1 if __import__('a'):\n        pass",
    "except*": "try:\n    pass\nexcept* ValueError:\n    import a",
    "try of except*": "try:\n    import a\nexcept* ValueError:\n    pass",
}


@pytest.mark.parametrize("source", PLACES.values(), ids=PLACES.keys())
def test_an_import_is_found_wherever_it_stands(source):
    assert "a" in names(source)
    assert "a" not in optional(source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b.c as d", {"a.b.c"}),
        ("import a, b", {"a", "b"}),
        ("from a import b, c", {"a", "a.b", "a.c"}),
        ("from . import x", {"pkg.sub", "pkg.sub.x"}),
        ("from .x import y", {"pkg.sub.x", "pkg.sub.x.y"}),
        ("from .. import x", {"pkg", "pkg.x"}),
        ("from ..other.deep import y", {"pkg.other.deep", "pkg.other.deep.y"}),
        ("from a import *", {"a", "a.*"}),
        ("from . import *", {"pkg.sub", "pkg.sub.*"}),
        ("import importlib; importlib.import_module('a.b')", {"importlib", "a.b"}),
        ("importlib.import_module(name='a.b')", {"a.b"}),
        ("importlib.import_module('.x', package='other')", {"other.x"}),
        ("importlib.import_module('..x', 'other.inner')", {"other.x"}),
        ("importlib.import_module('.x', package=__package__)", {"pkg.sub.x"}),
        ("importlib.import_module('.x', __name__)", {"pkg.sub.mod.x"}),
        ("importlib.import_module('.x', __spec__.parent)", {"pkg.sub.x"}),
        ("from importlib import import_module as im\nim('a')", {"a"}),
        ("def f():\n    from importlib import import_module as im\n    return im('a')", {"a"}),
        ("import importlib as il\nil.import_module('a')", {"a"}),
        ("__import__('a.b', globals(), locals(), ['c'])", {"a.b"}),
        ("from importlib import __import__ as im\nim('a')", {"a"}),
        ("import_module(some + 'thing')", set()),
        ("import_module()", set()),
    ],
)
def test_every_form_of_an_import_is_resolved(source, expected):
    assert names(source) - {"importlib", "importlib.import_module", "importlib.__import__"} == (
        expected - {"importlib"}
    )


@pytest.mark.parametrize("test", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_what_only_type_checkers_import_is_left_out(test):
    assert names(f"if {test}:\n    import a\nelse:\n    import b") == {"b"}
    assert names(f"if not {test}:\n    import b\nelse:\n    import a") == {"b"}
    assert names(f"if {test}:\n    import a\nelif x:\n    import b") == {"b"}


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import a\nexcept ImportError:\n    import b",
        "try:\n    import a\nexcept (AttributeError, ModuleNotFoundError):\n    import b",
        "try:\n    import a\nexcept Exception:\n    import b",
        "try:\n    import a\nexcept:\n    import b",
        "with contextlib.suppress(ImportError):\n    import a, b",
        "with suppress(ValueError, ModuleNotFoundError):\n    import a, b",
    ],
)
def test_an_import_whose_failure_is_caught_is_optional(source):
    assert optional(source) == {"a", "b"}


def test_what_comes_after_a_caught_import_is_not_optional():
    source = "try:\n    import a\nexcept ImportError:\n    pass\nelse:\n    import b\nimport c"
    assert optional(source) == {"a"}


@pytest.mark.parametrize(
    "source",
    [
        "__all__ = ['a', 'b']",
        "__all__: list[str] = ['a', 'b']",
        "__all__ = ('a',)\n__all__ += ['b']",
    ],
)
def test_the_names_that_a_module_exports_are_found(source):
    finder = agent.ImportFinder("pkg", "pkg")
    finder.visit(agent.ast.parse(source))
    assert finder.exported == ["a", "b"]


def of_function(function, importers=agent._IMPORTS):
    return {one.name: one.optional for one in agent.imports_of_code(function.__code__, importers)}


def test_the_imports_of_a_functions_code_are_found():
    def function():
        import importlib

        import a.b
        from c import d

        importlib.import_module("e.f")
        importlib.import_module(".g", package="h")
        importlib.import_module(".i", "h")
        __import__("j")
        return a, d

    assert of_function(function) == {
        **dict.fromkeys(["importlib", "a.b", "c", "e.f", "h.g", "h.i", "j"], False),
        "c.d": True,
    }


def test_an_import_by_another_name_of_import_module_is_found_in_code():
    def function(im):
        return im("a.b")

    assert of_function(function) == {}
    assert of_function(function, {"im"}) == {"a.b": False}


def test_an_import_in_code_that_knows_of_import_errors_is_optional():
    def function():
        try:
            import a
        except ImportError:
            import b as a
        return a

    assert of_function(function) == {"a": True, "b": True}


def test_text_that_only_looks_like_an_import_is_none():
    def function(show):
        show("import_module")
        return show("a.b"), "__import__", "c"

    assert of_function(function) == {}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a statement of Python 3.12")
def test_an_import_is_found_below_a_type_alias():
    assert names("type X = int\nimport a") == {"a"}
