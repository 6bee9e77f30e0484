"""What opens a URL is never shown."""

import pytest

from imagesmith.urls import bare, redacted, without_token


@pytest.mark.parametrize(
    "text",
    [
        "https://me:secret@h.example/simple",
        "(`https://me:secret@h.example/simple`)",
        "HTTPS://me:secret@h.example/simple",
        "https://me:sec')ret@h.example/simple",
        "https://me:sec/ret@h.example/simple",
        "https://me:sec@ret@h.example/simple",
        "git+https://secret@h.example/x.git@main#egg=x",
        "https://h.example/x.whl?signature=secret",
        "https://h.example/t/se-cret/channel::numpy",
        "t/secret/channel::numpy",
        "file a 't/secret/channel'",
        "https://[secret",
    ],
)
def test_no_part_of_a_secret_stays_in_a_text(text):
    assert "sec" not in redacted(text)
    assert "ret" not in redacted(text)


@pytest.mark.parametrize("url", ["https://h.example/simple", "file:///opt/wheels", "https://h:8/x"])
def test_a_url_without_a_secret_stays_as_it_is(url):
    assert bare(url) == url
    assert redacted(f"see {url} or so") == f"see {url} or so"


def test_a_token_is_taken_out_of_a_channel():
    assert without_token("https://h.example/t/secret/x") == "https://h.example/x"
