"""What cannot be published whole is not published at all, and the finding says why."""

import tarfile
import threading

import pytest
from tiny_image import make_image

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import layout
from imagesmith.publish.archive import ArchivePublisher
from imagesmith.publish.destination import destination
from imagesmith.publish.layout import LayoutPublisher


@pytest.mark.parametrize("scheme", ["oci", "archive"])
@pytest.mark.parametrize("spoilt", [b"", b"other", b"longer " * 1000])
def test_a_damaged_layer_is_not_published(image, store, tmp_path, scheme, spoilt):
    image.blob(image.layers[0].blob.digest).write_bytes(spoilt)
    with pytest.raises(ImagesmithError) as stopped:
        destination(f"{scheme}:{tmp_path}/new", store).publish(image)
    assert stopped.value.exit_code is ExitCode.PUBLISH
    assert stopped.value.findings[0].code == "publish.damaged"
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_a_tar_that_happens_to_hold_an_index_json_is_left_alone(image, tmp_path):
    (tmp_path / "index.json").write_text('{"manifests": []}')
    place = tmp_path / "site.tar"
    with tarfile.open(place, "w") as tar:
        tar.add(tmp_path / "index.json", "index.json")
    before = place.read_bytes()
    with pytest.raises(ImagesmithError) as stopped:
        ArchivePublisher(place).publish(image)
    assert stopped.value.findings[0].code == "publish.occupied"
    assert place.read_bytes() == before


def test_two_builds_that_begin_one_layout_at_once_are_both_in_it(store, tmp_path):
    images = [make_image(store, f"demo:{number}", bytes([number])) for number in range(4)]
    together = threading.Barrier(len(images))

    def publish(image):
        together.wait()
        LayoutPublisher(tmp_path / "layout").publish(image)

    threads = [threading.Thread(target=publish, args=(image,)) for image in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [image.pinned for image in layout.images(tmp_path / "layout")]
    assert found == [image.pinned for image in images]
    assert {path.name for path in tmp_path.iterdir()} == {"store", "layout"}
