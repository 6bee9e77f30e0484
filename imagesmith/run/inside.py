"""The inside of a container: makes its file system, gives up every privilege, becomes its command.

Run by rootfs.py in a process of its own, with the standard library alone:

``inside.py start SPEC READY`` runs under util-linux ``unshare``, in new namespaces. It forks the
container's process 1 and stays as its keeper, which writes ``process.json`` and, at the end,
``status`` beside SPEC. READY is a file descriptor: what is written to it before it is closed says
why the container did not start.

``inside.py enter SPEC KEEPER MAIN ARG...`` runs a command in the container that has these two
processes, and ends as the command does.

Sources: namespaces(7), user_namespaces(7), pivot_root(2), capabilities(7), and the OCI
runtime-spec (config-linux.md) for what a container finds mounted.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MNT_DETACH = 2
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
LINUX_CAPABILITY_VERSION_3 = 0x20080522
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

_NO_PRIVILEGE = MS_NOSUID | MS_NODEV
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
# Where uid 0 could reach the kernel's settings even without a capability.
_KERNEL = ("bus", "fs", "irq", "sys", "sysrq-trigger")
# The user namespace comes first: it gives the right to enter the others.
_NAMESPACES = ("user", "ipc", "uts", "net", "pid_for_children", "mnt")
_KILLED = 128 + signal.SIGKILL
_NOT_ENTERED = 126
# What the kernel says of a process that is gone, and of a fork into its pid namespace.
_ENDED = (errno.ENOENT, errno.ESRCH, errno.ENOMEM)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_libc.mount.argtypes = [*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p]


def main(role: str, spec_path: str, *rest: str) -> int:
    """Play the part that the arguments name; give the exit status."""
    spec = json.loads(Path(spec_path).read_bytes())
    if role == "start":
        return start(spec, Path(spec_path).parent, ready=int(rest[0]))
    keeper, main_process, *argv = rest
    return enter({**spec, "argv": argv}, int(keeper), int(main_process))


def start(spec: dict[str, Any], folder: Path, ready: int) -> int:
    """Fork the container's process 1, keep it until it ends, and note its exit status.

    One without a network is of use to its starter alone, and is killed when that is gone.
    """
    os.set_inheritable(ready, False)  # so that it closes when process 1 becomes its command
    place = os.open(folder, os.O_PATH)  # by path the folder is out of sight after pivot_root
    starter = _starter(spec) if spec["network"] == "none" else None
    go, gone = os.pipe()
    printed, printing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gone)
        os.dup2(printing, 1)
        os.dup2(printing, 2)
        if os.read(go, 1):  # process.json needs the host's /proc, which the mounts will hide
            _become_main(spec, folder, ready)
        os._exit(_KILLED)
    _write(place, "process.json", json.dumps([_identity(os.getpid()), _identity(pid)]))
    os.write(gone, b"!")
    os.close(ready)
    os.close(printing)
    _copy(printed, 1, starter, pid)
    _write(place, "status", str(_wait(pid)))
    return 0


def enter(spec: dict[str, Any], keeper: int, main_process: int) -> int:
    """Run a command in a container; give its exit status (128 + N for a signal N)."""
    try:
        user = _join(spec, keeper, main_process)
        pid = os.fork()
    except OSError as problem:
        if problem.errno in _ENDED:
            return _KILLED  # as every process of a container that ends
        print(problem, file=sys.stderr)
        return _NOT_ENTERED
    if pid == 0:
        try:
            _become(spec, user)
        except OSError as problem:
            print(problem, file=sys.stderr, flush=True)
        os._exit(127)
    return _wait(pid)


def _join(spec: dict[str, Any], keeper: int, main_process: int) -> int | None:
    """Enter a container's namespaces and root; give its inner user namespace, if it has one.

    They are reached through the keeper: of all processes it alone is in the user namespace that
    owns the others.
    """
    spaces = [os.open(f"/proc/{keeper}/ns/{name}", os.O_RDONLY) for name in _NAMESPACES]
    own = [Path(f"/proc/self/ns/{name}").stat().st_ino for name in _NAMESPACES]
    root = os.open(f"/proc/{keeper}/root", os.O_PATH)
    inner = None
    if spec["privilege"] == "single":
        inner = os.open(f"/proc/{main_process}/ns/user", os.O_RDONLY)
    for space, here in zip(spaces, own, strict=True):
        if os.fstat(space).st_ino != here:  # to enter where one is already can be refused
            _check(_libc.setns(space, 0), "setns")
    os.fchdir(root)
    os.chroot(".")
    return inner


def _become_main(spec: dict[str, Any], folder: Path, ready: int) -> None:
    try:
        os.setsid()
        socket.sethostname(spec["hostname"])
        if spec["network"] == "none":
            _raise_loopback()
        _mount_all(spec, folder)
        _become(spec, None)
    except (OSError, ValueError, OverflowError) as problem:
        os.write(ready, str(problem).encode())


def _become(spec: dict[str, Any], inner: int | None) -> NoReturn:
    """Run the command as the image's user, without a privilege."""
    uid, gid, home = _user(spec["user"])
    if spec["privilege"] == "single":
        _take_single_identity(uid, gid, inner)
    else:
        os.setgroups([])
        os.fchown(1, uid, gid)  # /dev/stdout can be opened by its owner alone
    _drop(uid, gid)
    env = {"HOME": home, **spec["env"]}
    os.umask(0o022)
    os.chdir(spec["working_dir"])
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(spec["argv"][0], spec["argv"], env)  # noqa: S606


def _mount_all(spec: dict[str, Any], folder: Path) -> None:
    root = folder / "root"
    _mount_layers(spec, folder, root)
    _mount_devices(_inside(root, "dev"))
    _mount("proc", _inside(root, "proc"), "proc", _NO_PRIVILEGE | MS_NOEXEC)
    for name in _KERNEL:
        _freeze(root / "proc" / name)
    with suppress(OSError):  # refused to a user namespace that shares the host's network
        _mount("sysfs", _inside(root, "sys"), "sysfs", _NO_PRIVILEGE | MS_NOEXEC | MS_RDONLY)
    for path, source in spec["files"].items():
        _mount(source, _inside(root, path), "", MS_BIND)
        _remount_read_only(root / path)
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "umount the host")
    os.chdir("/")


def _mount_layers(spec: dict[str, Any], folder: Path, root: Path) -> None:
    """Stack the layers by overlay: a tmpfs takes what is written, or nothing does."""
    os.chdir(folder / "lower")  # one page must hold all the names, so they are short
    options = f"lowerdir={':'.join(spec['lower'])}"
    flags = _NO_PRIVILEGE
    if spec["read_only"]:
        flags |= MS_RDONLY
    else:
        scratch = folder / "scratch"
        _mount("tmpfs", scratch, "tmpfs", _NO_PRIVILEGE, "mode=755")
        for name in ("upper", "work"):
            (scratch / name).mkdir(mode=0o755)
        options += ",upperdir=../scratch/upper,workdir=../scratch/work"
    if spec["privilege"] != "root":
        options += ",userxattr"
    _mount("overlay", root, "overlay", flags, options)


def _mount_devices(dev: Path) -> None:
    _mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in _DEVICES:
        (dev / name).touch()
        _mount(f"/dev/{name}", dev / name, "", MS_BIND)
    for name, target in _DEVICE_LINKS.items():
        (dev / name).symlink_to(target)
    (dev / "shm").mkdir()
    _mount("tmpfs", dev / "shm", "tmpfs", _NO_PRIVILEGE | MS_NOEXEC, "mode=1777")


def _inside(root: Path, path: str) -> Path:
    """Give a mount point below ``root``; ValueError if the image has a link on the way there."""
    place = root / path
    if place.resolve() != place:
        raise ValueError(f"the image's /{path} is a link, so nothing can be mounted there")
    return place


def _freeze(path: Path) -> None:
    if path.exists():
        _mount(str(path), path, "", MS_BIND)
        _remount_read_only(path)


def _remount_read_only(path: Path) -> None:
    # The flags that a mount has must be named again: a user namespace may not take one away.
    kept = os.statvfs(path).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount("none", path, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    place = os.fsencode(target)
    done = _libc.mount(source.encode(), place, kind.encode(), flags, options.encode() or None)
    _check(done, f"mount {kind or source} on {target}")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def _user(text: str) -> tuple[int, int, str]:
    """Read "user[:group]", names or numbers, as the image-spec has it: uid, gid and home."""
    user, _, group = text.partition(":")
    uid, gid, home = 0, 0, "/"
    if user.isdigit():
        uid = int(user)
    for name, _, number, primary, _, folder, *_ in _entries("/etc/passwd", 7):
        if (user or "root") in (name, number):
            uid, gid, home = int(number), int(primary), folder
            break
    else:
        if user and not user.isdigit():
            raise ValueError(f"the image has no user {user!r}")
    return uid, _group(group) if group else gid, home


def _group(group: str) -> int:
    if group.isdigit():
        return int(group)
    for name, _, number, *_ in _entries("/etc/group", 4):
        if name == group:
            return int(number)
    raise ValueError(f"the image has no group {group!r}")


def _entries(path: str, fields: int) -> list[list[str]]:
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    entries = [line.split(":") for line in lines]
    return [entry for entry in entries if len(entry) == fields]


def _take_single_identity(uid: int, gid: int, inner: int | None) -> None:
    """Become uid and gid where only one identity can be had: in a user namespace within."""
    if inner is not None:
        _check(_libc.setns(inner, CLONE_NEWUSER), "setns")
        return
    _check(_libc.unshare(CLONE_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} 0 1")
    Path("/proc/self/gid_map").write_text(f"{gid} 0 1")


def _drop(uid: int, gid: int) -> None:
    """Be uid and gid alone, with no capability and no way to get one."""
    capability = 0
    while _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear capabilities")
    header = struct.pack("Ii", LINUX_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(6 * 4)), "capset")
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    # Whoever keeps or waits for it may be killed; then it must not be left behind.
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "parent death signal")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _identity(pid: int) -> list[int]:
    """Give a process's pid and start time (proc(5), stat, field 22), which together are unique."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [pid, int(fields[19])]


def _wait(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _starter(spec: dict[str, Any]) -> int:
    """Open whoever started the container (pidfd_open(2)); ProcessLookupError if it is gone."""
    pid, _ = spec["starter"]
    handle = os.pidfd_open(pid)
    if _identity(pid) != spec["starter"]:  # another process that got its number
        raise ProcessLookupError(errno.ESRCH, "the starter is gone")
    return handle


def _copy(printed: int, log: int, starter: int | None, main_process: int) -> None:
    """Append to the log what is printed, to its end, and kill who prints when the starter is gone.

    The container has a pipe, not the log itself: it could cut the log short by /dev/stdout.
    """
    watched = select.poll()
    for handle in (printed, starter):
        if handle is not None:
            watched.register(handle, select.POLLIN)
    while True:
        ready = [handle for handle, _ in watched.poll()]
        if starter in ready:
            os.kill(main_process, signal.SIGKILL)  # it is a child that nobody has waited for yet
            watched.unregister(starter)
        if printed in ready:
            if not (chunk := os.read(printed, 1 << 16)):
                return
            with suppress(OSError):  # a full disk costs the log, not the container
                os.write(log, chunk)


def _write(place: int, name: str, text: str) -> None:
    """Write a file into an open folder, whole."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    handle = os.open(f".{name}", flags, 0o644, dir_fd=place)
    os.write(handle, text.encode())
    os.close(handle)
    os.rename(f".{name}", name, src_dir_fd=place, dst_dir_fd=place)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
