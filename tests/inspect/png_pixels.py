"""The colours of a PNG (PNG specification, 9: filtering), 8 bits a sample, not interlaced."""

import struct
import zlib


def colours(path):
    """Give the set of the colours (red, green, blue) that a picture has."""
    width, height, samples, packed = _chunks(path.read_bytes())
    rows, stride = zlib.decompress(packed), width * samples
    above, found = bytes(stride), set()
    for begin in range(0, height * (stride + 1), stride + 1):
        above = _unfiltered(rows[begin], rows[begin + 1 : begin + 1 + stride], above, samples)
        found.update(zip(*(above[sample::samples] for sample in range(3)), strict=True))
    return found


def _chunks(data):
    width, height, depth, kind = struct.unpack(">2L2B", data[16:26])
    assert depth == 8
    packed, place = b"", 8
    while place < len(data):
        size, name = struct.unpack(">L4s", data[place : place + 8])
        if name == b"IDAT":
            packed += data[place + 8 : place + 8 + size]
        place += size + 12
    return width, height, {2: 3, 6: 4}[kind], packed


def _unfiltered(kind, row, above, samples):
    done = bytearray(samples) + row
    corner = bytes(samples) + above
    for index in range(samples, len(done)):
        left, up, diagonal = done[index - samples], corner[index], corner[index - samples]
        done[index] = (done[index] + _guess(kind, left, up, diagonal)) % 256
    return bytes(done[samples:])


def _guess(kind, left, up, diagonal):
    near = left + up - diagonal
    paeth = min((left, up, diagonal), key=lambda one: abs(near - one))
    return (0, left, up, (left + up) // 2, paeth)[kind]
