"""System packages: what a base lacks, fetched once, named where it does not exist."""

from dataclasses import replace

import pytest
from debs import make_deb

from imagesmith import base as bases
from imagesmith.base import debian
from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import oci
from imagesmith.image.system import system_members
from imagesmith.progress import Silent
from imagesmith.store import Store

LABELS = {oci.LABEL_PYTHON: "3.11", oci.LABEL_PACKAGES: "libc6=2.36-9 python3.11=3.11.2-6"}


class Listener(Silent):
    def __init__(self):
        self.findings = []

    def find(self, finding):
        self.findings.append(finding)


@pytest.fixture
def shop(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def stub(shop):
    """Give an image that says what a base's labels say."""
    config = oci.ImageConfig(labels=LABELS)
    return oci.assemble(shop, "closure-base:3.11", (), config, "1970-01-01T00:00:00Z")


@pytest.fixture
def debian_has(monkeypatch):
    """Give a function that says what the one fetching that there may be brings, by name."""

    def have(**packages):
        def fetch(suite, names, folder):
            monkeypatch.delattr(debian, "fetch_named")
            made = {name: folder / f"{name}.deb" for name in packages}
            for name, path in made.items():
                make_deb(path, name, {f"./usr/lib/{name}": b"x"}, **packages[name])
            return tuple(debian.Package(name, "1.0", path) for name, path in made.items())

        monkeypatch.setattr(debian, "fetch_named", fetch)

    return have


def names(packages):
    return [package.name for package in packages]


def test_what_is_needed_beyond_the_base_comes_along(shop, stub, debian_has):
    debian_has(
        graph={"Depends": "libc6 (>= 2.36), libdraw, debconf (>= 0.5) | debconf-2.0"},
        libc6={},
        libink={"Provides": "libpaint"},
        libdraw={"Depends": "libpaint"},
        debconf={"Depends": "perl"},
        perl={},
    )
    found = bases.system(stub, ["graph"], shop, Silent())
    assert names(found) == ["graph", "libdraw", "libink"]


def test_a_second_build_asks_nobody_in_whatever_order_they_are_named(shop, stub, debian_has):
    debian_has(one={}, two={})
    first = bases.system(stub, ["one", "two"], shop, Silent())
    assert bases.system(stub, ["two", "one", "two"], shop, Silent()) == first


def test_what_the_base_has_is_no_layer(shop, stub, debian_has):
    debian_has(libc6={})
    assert bases.system(stub, ["libc6"], shop, Silent()) == ()


def test_a_script_that_would_configure_something_is_told_each_time(shop, stub, debian_has):
    idle = '#!/bin/sh\nset -e\ncase "$1" in\n  configure)\n    ldconfig\n    ;;\nesac\nexit 0\n'
    debian_has(idle={"postinst": idle}, busy={"postinst": "#!/bin/sh\nupdate-alternatives x\n"})
    for _ in range(2):
        listener = Listener()
        bases.system(stub, ["idle", "busy"], shop, listener)
        (finding,) = listener.findings
        assert (finding.code, finding.subject) == ("build.postinst", "busy")


def test_what_is_no_package_name_never_gets_to_a_command_line(shop, stub):
    with pytest.raises(ImagesmithError) as refused:
        bases.system(stub, ["libgomp1", "-oDebug=1", "a,b"], shop, Silent())
    assert refused.value.exit_code is ExitCode.USAGE
    assert [finding.subject for finding in refused.value.findings] == ["-oDebug=1", "a,b"]


def test_a_base_that_is_not_debians_is_told_what_to_do(shop, stub):
    other = replace(stub, config=oci.ImageConfig(labels={oci.LABEL_PYTHON: "3.11"}))
    with pytest.raises(ImagesmithError) as refused:
        bases.system(other, ["libgomp1"], shop, Silent())
    (finding,) = refused.value.findings
    assert finding.code == "usage.apt"
    assert "leave --base out" in finding.remedy


@pytest.mark.apt
@pytest.mark.long
def test_every_package_that_debian_has_not_is_named(shop, stub):
    with pytest.raises(ImagesmithError) as refused:
        bases.system(stub, ["libgomp1", "libgomp0", "no-such-thing"], shop, Silent())
    assert refused.value.exit_code is ExitCode.MISSING
    found = {finding.subject: finding.message for finding in refused.value.findings}
    assert found == {
        name: f"Debian bookworm has no package {name}" for name in ("libgomp0", "no-such-thing")
    }


@pytest.mark.apt
@pytest.mark.long
def test_libgomp_is_one_library_and_its_link(store, base):
    (package,) = bases.system(base, ["libgomp1"], store, Silent())
    found = {member.path.rpartition("/")[2] for member in system_members([package], store)}
    assert found == {"libgomp.so.1", "libgomp.so.1.0.0"}
