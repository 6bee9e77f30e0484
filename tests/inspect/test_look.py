"""A look into an image: what others share with it, how it was built, as text, data and a page."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from inspected_images import image_of, installed
from png_pixels import colours

from imagesmith.cli.inspection import shown
from imagesmith.findings import ImagesmithError
from imagesmith.image import layout, oci
from imagesmith.image.tar import file_member
from imagesmith.inspect.look import BUILDS, look
from imagesmith.inspect.page import page, write_page
from imagesmith.store import Store, hex_of

HOSTILE = "<script>alert(1)</script>\x1b[2J"
BASE = [file_member("usr/lib/libc.so.6", bytes(300_000))]
NUMPY = installed("numpy", "2.0", {"numpy/__init__.py": bytes(800_000)})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def named(store, reference, layers, **labels):
    image = image_of(store, layers, reference, labels)
    layout.put(store.root, image)
    return image


def model(text):
    return [file_member("model/func.pkl", text)]


def test_what_other_images_share_is_told_and_what_this_one_adds_alone(store):
    base = named(store, "closure-base:3.11", [BASE])
    other = named(store, "other:1", [BASE, NUMPY, model(b"other")])
    named(store, "stranger:1", [model(b"stranger")])
    image = named(store, "demo:1", [BASE, NUMPY, model(b"mine")])
    sharing = look(image, store).sharing
    assert [(name, share.layers) for name, share in sharing.others] == [
        (other.pinned, 2),
        (base.pinned, 1),
    ]
    assert sharing.alone.layers == 1
    assert sharing.alone.compressed == image.layers[-1].blob.size


def test_an_image_that_is_not_in_the_store_is_held_against_those_that_are(store, tmp_path):
    elsewhere = image_of(Store(tmp_path / "elsewhere"), [BASE, model(b"mine")])
    named(store, "other:1", [BASE])
    assert [share.layers for _, share in look(elsewhere, store).sharing.others] == [1]


def test_the_base_is_named_where_the_store_knows_it(store):
    base = named(store, "closure-base:3.11", [BASE])
    image = named(store, "a:1", [BASE], **{oci.LABEL_BASE_DIGEST: base.manifest.digest})
    assert look(image, store).base == base.pinned
    foreign = named(store, "b:1", [BASE], **{oci.LABEL_BASE_DIGEST: "sha256:" + "0" * 64})
    assert look(foreign, store).base == "sha256:" + "0" * 64


def test_what_was_remembered_of_the_build_is_shown(store):
    image = named(store, "demo:1", [BASE])
    assert look(image, store).record is None
    record = {
        "builder": "layers",
        "source": {"revision": "abc", "dirty": False},
        "dockerfile": "F\nR\n",
    }
    store.remember(BUILDS, hex_of(image.manifest.digest), record)
    seen = look(image, store)
    assert seen.as_json()["built"]["record"] == record
    text = shown(seen)
    assert re.search(r"source revision +abc", text)
    assert re.search(r"dockerfile +2 lines", text)
    assert "F\nR\n" in page(seen).decode()


def test_the_text_has_layers_the_biggest_ten_and_the_sums(store):
    many = [
        member
        for n in range(12)
        for member in installed(f"dist{n}", "1.0", {f"dist{n}.py": bytes(4000 * n)})
    ]
    text = shown(look(named(store, "demo:1", [BASE, many]), store))
    assert "the biggest 10 of 12" in text
    assert text.index("dist11 1.0  ") < text.index("dist2 1.0  ")
    assert "dist1 1.0  " not in text
    assert re.search(r"\n1 +base +\S+ \w+ +\d+\.\d kB +sha256:[0-9a-f]{12}\n", text)


def test_all_of_it_is_plain_data(store):
    data = look(named(store, "demo:1", [BASE, NUMPY]), store).as_json()
    assert json.loads(json.dumps(data)) == data
    assert data["total"]["uncompressed"] == sum(layer["uncompressed"] for layer in data["layers"])
    assert data["parts"][0] == {
        "kind": "pip",
        "name": "numpy",
        "version": "2.0",
        "size": data["layers"][1]["uncompressed"],
        "byte_code": 0,
    }


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.loaded = []
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for key, value in attrs if key in ("src", "href", "action")]


def test_the_page_needs_no_other_file_and_no_script(store):
    text = page(look(named(store, "demo:1", [BASE, NUMPY]), store))
    reader = Reader()
    reader.feed(text.decode())
    assert reader.loaded == []
    assert "script" not in reader.tags
    assert b"url(" not in text
    assert b"@import" not in text


def test_the_page_has_a_tile_for_each_part_with_its_name_and_size(store):
    text = page(look(named(store, "demo:1", [BASE, NUMPY, model(b"1")]), store)).decode()
    titles = re.findall("<title>([^<]*)</title>", text)[1:]
    assert titles[0].startswith("base: 307.")
    assert titles[1].startswith("numpy 2.0: 809.")
    assert titles[2] == "model: 10.2 kB (layer 3)"
    assert re.search(r">numpy<tspan", text)


def test_nothing_that_is_shown_is_taken_for_html_or_by_a_terminal(store):
    image = named(store, "demo:1", [installed("<b>x", "1", {})], a=HOSTILE)
    seen = look(image, store)
    text = page(seen).decode()
    assert "<script" not in text
    assert "<b>x" not in text
    assert "\x1b" not in shown(seen)


def test_a_page_that_cannot_be_written_is_told(store, tmp_path):
    seen = look(named(store, "demo:1", [BASE]), store)
    (tmp_path / "file").write_text("")
    with pytest.raises(ImagesmithError) as refused:
        write_page(seen, tmp_path / "file" / "page.html")
    assert [finding.code for finding in refused.value.findings] == ["usage.output"]


@pytest.mark.long
@pytest.mark.chromium
def test_a_browser_draws_the_page(store, tmp_path):
    """Looked at by eye when it was made; here, that all kinds of tiles have been painted."""
    seen = look(named(store, "demo:1", [BASE, NUMPY, model(bytes(400_000))]), store)
    write_page(seen, tmp_path / "page.html")
    subprocess.run(
        [
            *(shutil.which("chromium"), "--headless", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=800,900"),
            *(f"--screenshot={tmp_path / 'page.png'}", (tmp_path / "page.html").as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    # A distribution, the base, the model.
    kinds = {(0xB7, 0xD3, 0xF2), (0xD5, 0xD7, 0xDB), (0xF5, 0xBF, 0xA8)}
    assert kinds <= colours(tmp_path / "page.png")
