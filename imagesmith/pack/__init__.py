"""Packs: everything that an image is made of in one archive, for a host without a network.

A pack is a plain tar, and is three things at once:

    pack.json, SHA256SUMS                  what it is of, and the digest of every other member
    bundle/                                the capture, as `imagesmith capture` writes it
    runtime/                               the runtime's sources
    pylock.toml, requirements.txt, …       the lock's files
    Dockerfile, check.py                   so that it is a build context, whose layers are blobs
    oci-layout, index.json                 so that it is an OCI layout, of the base and of the image
    blobs/sha256/                          wheels, packages, and the blobs of base and image

The same image gives the same bytes. imagesmith builds from the bundle, the lock, the artifacts and
the base, never from the layers: what those are made of, nobody could tell.
"""

PACK = "pack.json"
SUMS = "SHA256SUMS"
BUNDLE = "bundle"
RUNTIME = "runtime"
BLOBS = "blobs/sha256"
FORMAT = 1
