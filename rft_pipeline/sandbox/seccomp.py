"""The system calls that a program in a sandbox is refused: a classic BPF program for `bwrap --seccomp`.

Namespaces hide files, processes and networks. The calls refused here reach past them: memory that no limit counts
(memfd, System V), families of sockets that no network namespace holds (vsock, alg), other processes (ptrace), and parts
of the kernel that a test never needs. See seccomp(2) and linux/filter.h.
"""

import platform
import struct

_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED = {
    "x86_64": {
        *(29, 30, 31, 68, 71, 64),  # shmget, shmat, shmctl, msgget, msgctl, semget
        *(101, 310, 311, 312),  # ptrace, process_vm_readv, process_vm_writev, kcmp
        *(161, 155, 165, 166, 428, 429, 430, 431, 432, 433, 442),  # chroot, pivot_root, mount and its successors
        *(
            272,
            308,
            321,
            298,
            323,
            319,
            447,
        ),  # unshare, setns, bpf, perf_event_open, userfaultfd, memfd
        *(248, 249, 250, 425, 426, 427),  # add_key, request_key, keyctl, io_uring
        *(246, 320, 175, 176, 313, 169, 167, 168, 163),  # kexec, modules, reboot, swap, acct
        *(135, 304, 434, 438),  # personality, open_by_handle_at, pidfd_open, pidfd_getfd
    },
    "aarch64": {
        *(194, 195, 196, 186, 187, 190),
        *(117, 270, 271, 272),
        *(51, 41, 40, 39, 428, 429, 430, 431, 432, 433, 442),
        *(97, 268, 280, 241, 282, 279, 447),
        *(217, 218, 219, 425, 426, 427),
        *(104, 294, 105, 106, 273, 142, 224, 225, 89),
        *(92, 265, 434, 438),
    },
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_CLONE3 = 435
_NAMESPACES = 0x7E020000
"""The flags of clone(2) that make namespaces."""
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16
"""Places in `struct seccomp_data`; the lower half of the first argument."""
_X32 = 0x40000000
_UNIX = 1


def supported() -> bool:
    """Whether the calls of this machine's processor are known."""
    return platform.machine() in _ARCHES


def filter_program() -> bytes:
    """The program for this machine, as an array of `struct sock_filter`."""
    machine = platform.machine()
    code = [_at(_LOAD, _ARCH), _at(_EQUAL, _ARCHES[machine], 1, 0), _at(_RETURN, _KILL), _at(_LOAD, _NUMBER)]
    code += [_at(_AT_LEAST, _X32, 0, 1), _at(_RETURN, _KILL)]
    for number in sorted(_REFUSED[machine]):
        code += [_at(_EQUAL, number, 0, 1), _at(_RETURN, _REFUSE | _EPERM)]
    code += [_at(_EQUAL, _CLONE3, 0, 1), _at(_RETURN, _REFUSE | _ENOSYS)]  # its flags cannot be read; libc falls back
    code += [_at(_EQUAL, _CLONE[machine], 0, 4), _at(_LOAD, _ARGUMENT), _at(_ANY_BIT, _NAMESPACES, 0, 1)]
    code += [_at(_RETURN, _REFUSE | _EPERM), _at(_RETURN, _ALLOW)]
    code += [_at(_EQUAL, _SOCKET[machine], 0, 3), _at(_LOAD, _ARGUMENT), _at(_EQUAL, _UNIX, 1, 0)]
    code += [_at(_RETURN, _REFUSE | _EPERM), _at(_RETURN, _ALLOW)]
    return b"".join(code)


def _at(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
