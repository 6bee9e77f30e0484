"""Debian packages above a base: what they bring, and what never gets into an image."""

import contextlib
import tarfile

import pytest
from debs import device, link, make_deb
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.image.deb import control, is_name, opened
from imagesmith.image.system import SystemPackage, system_members
from imagesmith.image.tar import Kind, contents
from imagesmith.store import Store


def content(member):
    return b"".join(contents(member)) if member.kind is Kind.FILE else None


@pytest.fixture
def brought(tmp_path):
    """Give a function that makes a package and gives what it brings, by path."""

    def make(*args, **fields):
        store = Store(tmp_path / "store")
        digest = store.add_file(make_deb(tmp_path / "made.deb", "made", *args, **fields))
        members = system_members([SystemPackage("made", "1.0", digest)], store)
        return {member.path: (member, content(member)) for member in members}

    return make


def test_files_come_to_where_a_merged_usr_has_them(brought):
    found = brought({"./lib/x86_64-linux-gnu/libx.so.1": b"x", "./etc/x.conf": b"y"})
    assert sorted(found) == ["etc/x.conf", "usr/lib/x86_64-linux-gnu/libx.so.1"]
    assert found["etc/x.conf"][1] == b"y"


def test_docs_man_pages_and_locales_are_left_out(brought):
    unread = ("doc/x/README", "man/man1/x.1.gz", "locale/de/LC_MESSAGES/x.mo", "info/x.info")
    assert brought({f"./usr/share/{path}": b"" for path in unread}) == {}


def test_nothing_keeps_a_set_user_id_bit(brought):
    assert brought({"./usr/bin/su": b""})["usr/bin/su"][0].mode == 0o755


def test_links_lead_nowhere_outside(brought):
    members = (
        link("./lib/libx.so", "libx.so.1"),
        link("./usr/bin/x", "/etc/alternatives/x"),
        link("./usr/share/x", "../../../../../etc/passwd"),
    )
    targets = {path: member.target for path, (member, _) in brought(members=members).items()}
    assert targets == {
        "usr/lib/libx.so": "libx.so.1",
        "usr/bin/x": "../../etc/alternatives/x",
        "usr/share/x": "../../etc/passwd",
    }


def test_a_hard_link_is_the_file_that_it_is_one_to(brought):
    found = brought({"./bin/x": b"x"}, members=[link("./bin/y", "./bin/x", tarfile.LNKTYPE)])
    assert found["usr/bin/y"][1] == b"x"


@pytest.mark.parametrize(
    ("files", "members", "words"),
    [
        ({"./../etc/x": b""}, (), "not a path"),
        ({"/etc/x": b""}, (), "not a path"),
        ({}, (device("./dev/null"),), "neither a file nor a folder nor a link"),
        ({}, (link("./x", "./y", tarfile.LNKTYPE),), "hard link to no file"),
    ],
)
def test_what_no_image_may_hold_is_refused_with_the_packages_name(brought, files, members, words):
    with pytest.raises(ValueError, match=rf"made 1\.0: .*{words}"):
        brought(files, members=members)


def test_a_package_says_what_it_is_and_needs(tmp_path):
    path = make_deb(
        *(tmp_path / "x.deb", "libx1"),
        version="2:1.0-3+b1",
        postinst="#!/bin/sh\n",
        Depends="libc6 (>= 2.36), liby1:any | liby2 (<< 3)",
        **{"Pre-Depends": "libz1", "Provides": "libx (= 1.0)"},
    )
    told = control(path)
    assert (told.name, told.version, told.postinst) == ("libx1", "2:1.0-3+b1", "#!/bin/sh\n")
    assert told.depends == {"libc6", "liby1", "liby2", "libz1"}
    assert told.provides == {"libx"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_deb(tmp_path_factory.mktemp("debs") / "x.deb", "junk", {"./x": b"x"}).read_bytes()


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300), st.integers(min_value=0))
def test_no_bytes_make_reading_a_package_raise_anything_but_value_error(
    whole, tmp_path_factory, junk, place
):
    path = tmp_path_factory.getbasetemp() / "junk.deb"
    at = place % len(whole)
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    for part in ("control", "data"):
        with contextlib.suppress(ValueError):
            opened(path, part)


@pytest.mark.parametrize("name", ["libgomp1", "libstdc++6", "libgtk2.0-0", "7zip"])
def test_debians_names_are_names(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "x", "-o", "libX11", "a,b", "a b", "a/stable", "a=1", "a\n"])
def test_nothing_else_reaches_a_command_line_as_a_name(name):
    assert not is_name(name)
