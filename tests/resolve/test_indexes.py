"""Which indexes are asked: the one that is given, else what uv's and pip's configuration names."""

from __future__ import annotations

import os
import stat

import pytest

from imagesmith.findings import ImagesmithError
from imagesmith.resolve.indexes import Indexes, configured
from imagesmith.urls import bare, redacted

SECRET = "https://me:s3cret@h.example/simple?X-Signature=s3cret#s3cret"


@pytest.fixture
def pip_conf(tmp_path):
    path = tmp_path / "pip.conf"
    path.write_text(
        "[global]\nindex_url = https://conf.example/simple\n"
        "extra-index-url =\n    https://one.example\n    https://two.example\n"
        "[install]\nfind-links = /wheels\n"
    )
    return path


def test_without_configuration_the_solvers_own_index_is_asked(hermetic):
    assert configured(None, os.environ) == Indexes()
    assert Indexes().only_public


def test_the_index_that_is_given_is_the_only_one(hermetic):
    environ = {
        **os.environ,
        "PIP_INDEX_URL": "https://pip.example",
        "UV_INDEX": "https://uv.example",
    }
    assert configured("https://given.example", environ) == Indexes("https://given.example")


def test_pips_file_is_read(hermetic, pip_conf):
    found = configured(None, {**os.environ, "PIP_CONFIG_FILE": str(pip_conf)})
    assert found == Indexes(
        "https://conf.example/simple",
        ("https://one.example", "https://two.example"),
        ("file:///wheels",),
    )
    assert not found.only_public


def test_a_variable_of_pip_goes_before_its_file(hermetic, pip_conf):
    environ = {"PIP_CONFIG_FILE": str(pip_conf), "PIP_INDEX_URL": "https://env.example"}
    found = configured(None, {**os.environ, **environ})
    assert found.default == "https://env.example"
    assert found.extra == ("https://one.example", "https://two.example")


def test_a_variable_of_uv_goes_before_pips(hermetic):
    environ = {
        **os.environ,
        "PIP_INDEX_URL": "https://pip.example",
        "UV_DEFAULT_INDEX": "https://uv.example",
        "UV_INDEX": "corp=https://corp.example https://more.example",
    }
    expected = Indexes("https://uv.example", ("https://corp.example", "https://more.example"))
    assert configured(None, environ) == expected


def test_the_users_file_is_found_where_pip_finds_it(hermetic, tmp_path):
    hermetic.delenv("PIP_CONFIG_FILE")
    hermetic.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config/pip").mkdir(parents=True)
    (tmp_path / "config/pip/pip.conf").write_text("[global]\nindex-url = https://user.example\n")
    assert configured(None, os.environ).default == "https://user.example"


def test_a_broken_file_of_pip_is_told(hermetic, pip_conf):
    pip_conf.write_text("index-url = https://no.section\n")
    with pytest.raises(ImagesmithError) as stopped:
        configured(None, {**os.environ, "PIP_CONFIG_FILE": str(pip_conf)})
    (finding,) = stopped.value.findings
    assert (finding.code, finding.subject) == ("usage.pip-config", str(pip_conf))


def test_nothing_secret_is_in_what_may_be_written_or_printed():
    indexes = Indexes(SECRET, (SECRET,), (SECRET,))
    assert "s3cret" not in repr(indexes)
    assert indexes.public == (
        "https://h.example/simple",
        ["https://h.example/simple"],
        ["https://h.example/simple"],
    )
    assert redacted(f"failed (`{SECRET}`): no") == "failed (`https://h.example/simple`): no"


@pytest.mark.parametrize("url", ["https://h/p", "file:///a/b.whl", "http://127.0.0.1:80/x%20y"])
def test_a_url_without_secrets_stays_as_it_is(url):
    assert bare(url) == url


def test_an_indexes_login_opens_its_own_origin_only(hermetic):
    indexes = Indexes("https://me%40corp:p%2Fw@h.example/simple")
    assert indexes.credentials("https://h.example:443/files/a.whl", os.environ) == (
        "me@corp",
        "p/w",
    )
    assert indexes.credentials("http://h.example/files/a.whl", os.environ) is None
    assert indexes.credentials("https://files.example/a.whl", os.environ) is None


def test_netrc_opens_the_hosts_that_it_names(hermetic, tmp_path):
    path = tmp_path / "netrc"
    path.write_text("machine files.example login me password s3cret\n")
    path.chmod(stat.S_IRUSR)
    environ = {**os.environ, "NETRC": str(path)}
    assert Indexes().credentials("https://files.example/a.whl", environ) == ("me", "s3cret")
    assert Indexes().credentials("https://other.example/a.whl", environ) is None


def test_a_broken_netrc_is_told(hermetic, tmp_path):
    path = tmp_path / "netrc"
    path.write_text("machine\n")
    with pytest.raises(ImagesmithError) as stopped:
        Indexes().credentials("https://h.example/a.whl", {**os.environ, "NETRC": str(path)})
    assert stopped.value.findings[0].code == "usage.netrc"


@pytest.mark.parametrize("data", [b"\xff\xfe", None], ids=["no text", "closed"])
def test_a_netrc_that_cannot_be_read_is_told(hermetic, tmp_path, data):
    path = tmp_path / "netrc"
    path.write_bytes(data or b"")
    if data is None:

        def closed(_):
            raise PermissionError(13, "Permission denied")

        hermetic.setattr("netrc.netrc", closed)
    with pytest.raises(ImagesmithError) as stopped:
        Indexes().credentials("https://h.example/a.whl", {**os.environ, "NETRC": str(path)})
    assert stopped.value.findings[0].code == "usage.netrc"


def test_a_user_without_a_home_has_no_files_of_pip(hermetic):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    hermetic.setattr("pathlib.Path.home", nobody)
    environ = {name: value for name, value in os.environ.items() if name != "PIP_CONFIG_FILE"}
    assert isinstance(configured(None, environ), Indexes)
    assert Indexes().credentials("https://h.example/a.whl", environ) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "https://me:s3cret/x@h.example/simple",
        "ftp://h.example/simple",
        "https://",
        "://",
        "~nobody-of-this-name/wheels",
    ],
)
def test_what_is_no_url_is_told(hermetic, url):
    with pytest.raises(ImagesmithError) as stopped:
        configured(url, os.environ)
    (finding,) = stopped.value.findings
    assert finding.code == "usage.index-url"
    assert "s3cret" not in str(finding.as_dict())
