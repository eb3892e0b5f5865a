"""The few system calls that Python 3.11 does not offer: mounts and namespaces. Linux 5.12 or newer.

Every function raises OSError with the errno and the path of what was refused.
"""

import ctypes
import os
from ctypes import c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWCGROUP = 0x02000000

MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SHARED = 0x100000
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8

_MNT_DETACH = 2
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 0x1
_SYS_MOUNT_SETATTR = 442  # one number on every architecture (include/uapi/asm-generic/unistd.h)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (c_char_p, c_char_p, c_char_p, c_ulong, c_void_p)
_libc.umount2.argtypes = (c_char_p, c_int)
_libc.unshare.argtypes = (c_int,)
_libc.setns.argtypes = (c_int, c_int)
_libc.syscall.restype = c_long


class _MountAttr(ctypes.Structure):
    """`struct mount_attr` of linux/mount.h."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)


def unshare(flags: int) -> None:
    """Move this process into new namespaces; a new PID namespace holds only its later children."""
    _check(_libc.unshare(flags), "unshare")


def enter_network(path: str) -> None:
    """Move this process into the network namespace that `path` names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNET), path)
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount; an empty `kind` or `options` is a null pointer, as bind and move want it."""
    data = ctypes.cast(c_char_p(options.encode()), c_void_p) if options else None
    _check(_libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, data), target)


def detach(target: str) -> None:
    """Detach a mount lazily (umount2 with MNT_DETACH): processes that have files open in it keep these."""
    _check(_libc.umount2(target.encode(), _MNT_DETACH), target)


def make_read_only(target: str) -> None:
    """Make a mount and all mounts below it read-only, in this mount namespace alone."""
    attributes = _MountAttr(attr_set=_MOUNT_ATTR_RDONLY)
    _check(
        _libc.syscall(
            c_long(_SYS_MOUNT_SETATTR),
            c_int(_AT_FDCWD),
            c_char_p(target.encode()),
            c_int(_AT_RECURSIVE),
            ctypes.byref(attributes),
            c_size_t(ctypes.sizeof(attributes)),
        ),
        target,
    )
