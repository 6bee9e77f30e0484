"""The lock's files: the same wheels give the same bytes, and nothing secret is in them."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.findings import ImagesmithError
from imagesmith.resolve import pylock
from imagesmith.resolve.files import PYLOCK, REQUIREMENTS, contents, read, write
from imagesmith.resolve.lock import Lock, LockedWheel
from imagesmith.resolve.platform import Target

TARGET = Target("3.11", "2.36")
HEX = "ab" * 32


def wheel(name="alpha", version="1.0", tag="py3-none-any") -> LockedWheel:
    filename = f"{name.replace('-', '_')}-{version}-{tag}.whl"
    return LockedWheel(name, version, filename, f"https://h/f/{filename}", f"sha256:{HEX}")


LOCK = Lock(TARGET, (wheel(), wheel("beta-two", "2.0+cpu")))


def document(**changes) -> bytes:
    """Write a pylock.toml of one wheel as another tool might."""
    entry = {
        "url": '"https://h/alpha-1.0-py3-none-any.whl"',
        "hashes": f'{{ sha256 = "{HEX}" }}',
        **changes,
    }
    inline = ", ".join(f"{key} = {value}" for key, value in entry.items() if value is not None)
    return (
        f'lock-version = "1.0"\n[[packages]]\nname = "alpha"\nversion = "1.0"\n'
        f"wheels = [{{ {inline} }}]\n"
    ).encode()


def codes(stopped) -> list[str]:
    return [finding.code for finding in stopped.value.findings]


@pytest.mark.parametrize("lock", [LOCK, Lock(TARGET, ())], ids=["wheels", "no wheels"])
def test_a_lock_reads_back_as_it_was_written(tmp_path, lock):
    write(lock, tmp_path / "lock")
    assert read(tmp_path / "lock") == lock
    assert (tmp_path / "lock/pylock.toml").read_bytes() == contents(lock)[PYLOCK]


def test_a_lock_takes_the_place_of_an_older_one(tmp_path):
    write(LOCK, tmp_path)
    newer = Lock(TARGET, (wheel("gamma"),))
    write(newer, tmp_path)
    assert read(tmp_path) == newer


def test_a_lock_does_not_take_the_place_of_the_users_file(tmp_path):
    (tmp_path / "requirements.txt").write_text("flask\n")
    with pytest.raises(ImagesmithError) as stopped:
        write(LOCK, tmp_path)
    assert codes(stopped) == ["usage.output"]
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.txt"]
    assert (tmp_path / "requirements.txt").read_text() == "flask\n"


def test_a_lock_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "pylock.toml").mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "file" / "inner", tmp_path / "folder"):
        with pytest.raises(ImagesmithError) as stopped:
            write(LOCK, folder)
        assert set(codes(stopped)) == {"usage.output"}


def test_the_lock_is_a_standard_pylock():
    parsed = tomllib.loads(contents(LOCK)[PYLOCK].decode())
    assert parsed["lock-version"] == "1.0"
    assert parsed["requires-python"] == "==3.11.*"
    assert [package["name"] for package in parsed["packages"]] == ["alpha", "beta-two"]
    assert parsed["packages"][0]["wheels"] == [
        {
            "name": "alpha-1.0-py3-none-any.whl",
            "url": "https://h/f/alpha-1.0-py3-none-any.whl",
            "hashes": {"sha256": HEX},
        }
    ]


def test_the_requirements_are_in_pips_hash_checking_form():
    lines = contents(LOCK)[REQUIREMENTS].decode().splitlines()
    assert lines[0].startswith("#")
    assert lines[1:] == [
        "alpha==1.0 \\",
        f"    --hash=sha256:{HEX}",
        "beta-two==2.0+cpu \\",
        f"    --hash=sha256:{HEX}",
    ]


def test_userinfo_and_signatures_are_stripped_from_urls():
    url = '"https://me:s3cret@h:81/f/alpha-1.0-py3-none-any.whl?X-Signature=s3cret#sha256=s3cret"'
    lock = pylock.parse(document(url=url), TARGET)
    assert lock.wheels[0].url == "https://h:81/f/alpha-1.0-py3-none-any.whl"
    assert b"s3cret" not in b"".join(contents(lock).values())


def test_of_several_wheels_the_best_for_the_target_is_locked():
    entry = '{{ url = "https://h/alpha-1.0-{}.whl", hashes = {{ sha256 = "{}" }} }}'
    tags = ("py3-none-any", "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-win_amd64")
    data = (
        'lock-version = "1.0"\n[[packages]]\nname = "Alpha"\nversion = "1.0"\n'
        f"wheels = [{', '.join(entry.format(tag, HEX) for tag in tags)}]\n"
    )
    (chosen,) = pylock.parse(data.encode(), TARGET).wheels
    assert chosen.name == "alpha"
    assert chosen.filename == "alpha-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"hashes": None}, "missing.hash"),
        ({"hashes": '{ md5 = "00" }'}, "missing.hash"),
        ({"hashes": '{ sha256 = "xyz" }'}, "missing.hash"),
        ({"url": '"ftp://h/alpha-1.0-py3-none-any.whl"'}, "missing.url"),
        ({"url": '"https://[/alpha-1.0-py3-none-any.whl"'}, "missing.url"),
        ({"url": '"https://h:http/alpha-1.0-py3-none-any.whl"'}, "missing.url"),
        ({"url": '"https://:80/alpha-1.0-py3-none-any.whl"'}, "missing.url"),
        ({"url": None, "path": '"./alpha-1.0-py3-none-any.whl"'}, "missing.url"),
        ({"name": '"beta-1.0-py3-none-any.whl"'}, "missing.wheel-name"),
        ({"name": '"alpha-2.0-py3-none-any.whl"'}, "missing.wheel-name"),
        ({"name": '"alpha-1.0-cp311-cp311-win_amd64.whl"'}, "missing.wheel"),
        ({"name": '"alpha-1.0-cp311-cp311-manylinux_2_37_x86_64.whl"'}, "missing.wheel"),
    ],
)
def test_a_wheel_that_cannot_be_trusted_or_run_is_refused(changes, code):
    with pytest.raises(ImagesmithError) as stopped:
        pylock.parse(document(**changes), TARGET)
    assert codes(stopped) == [code]


def test_all_packages_without_a_wheel_are_told_at_once():
    data = b'[[packages]]\nname = "a"\nversion = "1"\n[[packages]]\nname = "b"\nversion = "2"\n'
    with pytest.raises(ImagesmithError) as stopped:
        pylock.parse(data, TARGET)
    assert [f.subject for f in stopped.value.findings] == ["a==1", "b==2"]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"= no toml",
        b"",
        b"packages = 1",
        b"packages = " + b"[" * 100_000,
        b"packages = [1]",
        b'[[packages]]\nname = "a"\n',
        b'[[packages]]\nname = "a"\nversion = "1"\nwheels = [1]\n',
        b'[[packages]]\nname = "a"\nversion = "1"\n[[packages]]\nname = "A"\nversion = "2"\n',
    ],
)
def test_what_is_no_lock_is_told(data):
    with pytest.raises(ImagesmithError) as stopped:
        pylock.parse(data, TARGET)
    assert codes(stopped) == ["usage.lock"]


def test_a_lock_of_nothing_is_read_as_it_was_written():
    nothing = Lock(TARGET, ())
    assert pylock.parse(pylock.render(nothing), TARGET) == nothing


def test_a_folder_without_a_lock_of_ours_is_told(tmp_path):
    with pytest.raises(ImagesmithError) as nothing:
        read(tmp_path)
    (tmp_path / "pylock.toml").write_bytes(document())
    with pytest.raises(ImagesmithError) as foreign:
        read(tmp_path)
    assert codes(nothing) == codes(foreign) == ["usage.lock"]


_names = st.from_regex(re.compile(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?"), fullmatch=True)
_versions = st.from_regex(re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}(\+cpu)?"), fullmatch=True)
_locks = st.dictionaries(_names, _versions, min_size=1, max_size=5).map(
    lambda found: Lock(TARGET, tuple(wheel(name, found[name]) for name in sorted(found)))
)


@given(_locks)
def test_any_lock_survives_its_file(lock):
    assert pylock.parse(contents(lock)[PYLOCK], pylock.target_of(contents(lock)[PYLOCK])) == lock


@given(st.text())
def test_any_text_is_a_lock_or_told_to_be_none(text):
    try:
        pylock.parse(text.encode(), TARGET)
    except ImagesmithError as stopped:
        assert stopped.findings[0].code == "usage.lock"


@given(st.sampled_from(["https://h/", "file:///f/"]), st.text(max_size=20))
def test_whatever_a_url_holds_the_lock_reads_back(prefix, text):
    url = json.dumps(f"{prefix}{text}/alpha-1.0-py3-none-any.whl", ensure_ascii=False)
    try:
        lock = pylock.parse(document(url=url), TARGET)
    except ImagesmithError:
        return
    assert pylock.parse(contents(lock)[PYLOCK], TARGET) == lock
