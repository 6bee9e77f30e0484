"""Debian packages of the tests' own: an ar archive of two tars (deb(5))."""

import io
import tarfile


def make_deb(path, name, files=(), *, version="1.0", postinst="", members=(), **fields):
    """Write a package with files {path: bytes} and more tar members as they are."""
    told = {"Package": name, "Version": version, "Architecture": "amd64", **fields}
    texts = {"./control": "".join(f"{key}: {value}\n" for key, value in told.items())}
    if postinst:
        texts["./postinst"] = postinst
    control = _tar([(_file(name), text.encode()) for name, text in texts.items()])
    data = [(_file(name), content) for name, content in dict(files).items()]
    data += [(member, b"") for member in members]
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": control, "data.tar.xz": _tar(data)}
    path.write_bytes(b"!<arch>\n" + b"".join(_part(*part) for part in parts.items()))
    return path


def link(path, target, kind=tarfile.SYMTYPE):
    """Give a member that is a link."""
    member = _file(path)
    member.type, member.linkname = kind, target
    return member


def device(path):
    """Give a member that is a device."""
    member = _file(path)
    member.type = tarfile.CHRTYPE
    return member


def _file(path):
    member = tarfile.TarInfo(path)
    member.mode = 0o6755
    return member


def _tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _part(name, data):
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{0o100644:<8o}{len(data):<10}`\n".encode()
    return header + data + b"\n" * (len(data) % 2)
