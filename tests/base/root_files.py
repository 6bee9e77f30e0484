"""What an unpacked base holds, looked at by the tests."""

from imagesmith.image.elf import ElfError, read


def lacking(root):
    """Give the libraries that are needed by something in a tree and not there, and by what."""
    needed = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                elf = read(path.read_bytes())
            except ElfError:
                continue
            for soname in elf.needed:
                needed.setdefault(soname, path)
    return {name: path for name, path in needed.items() if not [*root.rglob(name)]}
