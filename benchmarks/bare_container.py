"""The least that can answer a frontend: ``bare_container.py PORT``, the peer of round_trip.py.

It receives the same frames, reads none of them but the message id, and sends as many back.
"""

import struct
import sys
from typing import NoReturn

import zmq

_FIXED = 7  # frames of a request before its inputs


def main(port: str) -> NoReturn:
    """Say hello, then answer every request."""
    dealer = zmq.Context().socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.send_multipart([b"", b"\2\0\0\0"])
    dealer.recv_multipart()
    dealer.send_multipart([b"", b"\0\0\0\0", b"m", b"1", b"3", b"\3\0\0\0"])
    dealer.send_multipart([b"", b"\2\0\0\0"])
    while True:
        frames = dealer.recv_multipart()
        count = len(frames) - _FIXED
        if count < 1:
            continue
        header = struct.pack(f"<{1 + count}Q", count, *[1] * count)
        size = struct.pack("<Q", len(header))
        dealer.send_multipart([b"", b"\1\0\0\0", frames[3], size, header, *[b"0"] * count])


main(sys.argv[1])
