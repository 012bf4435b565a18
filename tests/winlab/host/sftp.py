"""SFTP server (protocol version 3) that behaves like Win32-OpenSSH's: paths are /C:/dir/file, / lists the drives,
names ignore case, backslashes are separators, a name with one of <>:"|?* is refused, a file in use cannot be
removed or replaced and a running program not be written. chmod/chown do nothing, there are no links. Rename onto an
existing file fails; posix-rename@openssh.com replaces it. A path without a leading slash is relative to the home
directory, C:/x too (true of some versions, so better not relied on)."""

import errno
import os
import re
import stat
import struct
import sys

sys.path.insert(0, "/opt/stand-in")
from common import DRIVE_C, config, in_use, look_up

OK, EOF, NO_FILE, DENIED, FAILURE, BAD, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
HOME = "/C:/Users/" + config()["user"]
handles, counter = {}, [0]


class Status(Exception):
    pass


def clean(path):
    """What the client sent -> /C:/dir/file with the names as they are on disk."""
    text = path.decode("utf-8", "surrogateescape").replace("\\", "/")
    text = text if text.startswith("/") else HOME + "/" + text
    parts = []
    for part in text.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        return "/"
    if not re.fullmatch("[cC]:", parts[0]):
        raise Status(NO_FILE)
    for part in parts[1:]:
        if re.search(r'[<>:"|?*\x00-\x1f]', part) or re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", part, re.I):
            raise Status(NO_FILE)
    found = look_up(DRIVE_C, [p.rstrip(" .") or p for p in parts[1:]])
    return "/C:" + found[len(DRIVE_C) :]


def unix(path):
    shown = clean(path)
    if shown == "/":
        raise Status(DENIED)
    return DRIVE_C + shown[3:]


def attributes(info):
    mode = (stat.S_IFDIR | 0o777) if stat.S_ISDIR(info.st_mode) else (stat.S_IFREG | 0o666)
    return struct.pack(">IQIIIII", 1 | 2 | 4 | 8, info.st_size, 0, 0, mode, int(info.st_atime), int(info.st_mtime))


ROOT = struct.pack(">II", 4, stat.S_IFDIR | 0o777)


def string(data):
    return struct.pack(">I", len(data)) + data


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, code="I"):
        value = struct.unpack_from(">" + code, self.data, self.at)[0]
        self.at += struct.calcsize(code)
        return value

    def string(self):
        length = self.number()
        self.at += length
        return self.data[self.at - length : self.at]

    def skip_attributes(self):
        flags = self.number()
        size = self.number("Q") if flags & 1 else None
        for bit, n in ((2, 2), (4, 1)):
            for _ in range(n if flags & bit else 0):
                self.number()
        times = (self.number(), self.number()) if flags & 8 else None
        return size, times


def new_handle(thing):
    counter[0] += 1
    key = b"%d" % counter[0]
    handles[key] = thing
    return bytes([102]) + string(key)


def name_reply(entries):
    return bytes([104]) + struct.pack(">I", len(entries)) + b"".join(string(n) + string(n) + a for n, a in entries)


def refuse_used(path):
    if os.path.lexists(path) and in_use(path):
        raise Status(FAILURE)


def do_open(r):
    path, flags = unix(r.string()), r.number()
    mode = {1: os.O_RDONLY, 2: os.O_WRONLY, 3: os.O_RDWR}.get(flags & 3, os.O_RDONLY)
    for flag, bit in ((4, os.O_APPEND), (8, os.O_CREAT), (16, os.O_TRUNC), (32, os.O_EXCL)):
        mode |= bit if flags & flag else 0
    if os.path.isdir(path) or (flags & 2 and os.path.isfile(path) and in_use(path) == "image"):
        raise Status(FAILURE)
    return new_handle(os.open(path, mode, 0o755))


def do_close(r):
    thing = handles.pop(r.string())
    if isinstance(thing, int):
        os.close(thing)
    return OK


def do_read(r):
    fd, offset, size = handles[r.string()], r.number("Q"), r.number()
    data = os.pread(fd, min(size, 262144), offset)
    return bytes([103]) + string(data) if data else EOF


def do_write(r):
    fd, offset, data = handles[r.string()], r.number("Q"), r.string()
    while data:
        n = os.pwrite(fd, data, offset)
        data, offset = data[n:], offset + n
    return OK


def do_stat(r):
    path = clean(r.string())
    return bytes([105]) + (ROOT if path == "/" else attributes(os.stat(DRIVE_C + path[3:])))


def do_fstat(r):
    return bytes([105]) + attributes(os.fstat(handles[r.string()]))


def do_setstat(r, target=None):
    """Size and times only."""
    target = unix(r.string()) if target is None else target
    size, times = r.skip_attributes()
    os.stat(target)
    if size is not None:
        os.truncate(target, size)
    if times:
        os.utime(target, times)
    return OK


def do_fsetstat(r):
    return do_setstat(r, handles[r.string()])


def do_opendir(r):
    path = clean(r.string())
    if path == "/":
        return new_handle([(b"C:", ROOT)])
    entries = []
    for name in [".", "..", *os.listdir(DRIVE_C + path[3:])]:
        try:
            entries.append((os.fsencode(name), attributes(os.stat(DRIVE_C + path[3:] + "/" + name))))
        except OSError:
            continue
    return new_handle(entries)


def do_readdir(r):
    entries = handles[r.string()]
    if not entries:
        return EOF
    part, entries[:100] = entries[:100], []
    return name_reply(part)


def do_remove(r):
    path = unix(r.string())
    if os.path.isdir(path):
        raise Status(FAILURE)
    refuse_used(path)
    os.unlink(path)
    return OK


def do_mkdir(r):
    os.mkdir(unix(r.string()))
    return OK


def do_rmdir(r):
    path = unix(r.string())
    refuse_used(path)
    os.rmdir(path)
    return OK


def do_realpath(r):
    return name_reply([(os.fsencode(clean(r.string())), struct.pack(">I", 0))])


def do_rename(r, replace=False):
    old, new = unix(r.string()), unix(r.string())
    os.stat(old)
    if os.path.exists(new) and old.lower() != new.lower():
        if not replace or os.path.isdir(new):
            raise Status(FAILURE)
        refuse_used(new)
    if in_use(old) == "open":
        raise Status(FAILURE)
    os.rename(old, new)
    return OK


def do_extended(r):
    name = r.string()
    if name == b"posix-rename@openssh.com":
        return do_rename(r, replace=True)
    return OK if name == b"fsync@openssh.com" else UNSUPPORTED


REQUESTS = {
    **{3: do_open, 4: do_close, 5: do_read, 6: do_write, 7: do_stat, 8: do_fstat, 9: do_setstat, 10: do_fsetstat},
    **{11: do_opendir, 12: do_readdir, 13: do_remove, 14: do_mkdir, 15: do_rmdir, 16: do_realpath, 17: do_stat},
    **{18: do_rename, 200: do_extended},
}


def answer(kind, r):
    return REQUESTS[kind](r) if kind in REQUESTS else UNSUPPORTED


def main():
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    texts = {
        OK: b"Success",
        EOF: b"End of file",
        NO_FILE: b"No such file",
        DENIED: b"Permission denied",
        FAILURE: b"Failure",
        BAD: b"Bad message",
        UNSUPPORTED: b"Operation unsupported",
    }
    while True:
        head = stdin.read(4)
        if len(head) < 4:
            return
        data = stdin.read(struct.unpack(">I", head)[0])
        if data[0] == 1:  # INIT
            out = (
                bytes([2])
                + struct.pack(">I", 3)
                + string(b"posix-rename@openssh.com")
                + string(b"1")
                + string(b"fsync@openssh.com")
                + string(b"1")
            )
        else:
            try:
                reply = answer(data[0], Reader(data[5:]))
            except Status as error:
                reply = error.args[0]
            except OSError as error:
                reply = {errno.ENOENT: NO_FILE, errno.ENOTDIR: NO_FILE, errno.EACCES: DENIED, errno.EPERM: DENIED}.get(
                    error.errno, FAILURE
                )
            except (KeyError, struct.error, IndexError):
                reply = BAD
            if isinstance(reply, int):
                reply = bytes([101]) + struct.pack(">I", reply) + string(texts[reply]) + string(b"")
            out = reply[:1] + data[1:5] + reply[1:]
        stdout.write(struct.pack(">I", len(out)) + out)
        stdout.flush()


main()
