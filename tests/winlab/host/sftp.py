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


def answer(kind, r):
    if kind == 3:  # OPEN
        path, flags = unix(r.string()), r.number()
        mode = {1: os.O_RDONLY, 2: os.O_WRONLY, 3: os.O_RDWR}.get(flags & 3, os.O_RDONLY)
        mode |= (
            (os.O_APPEND if flags & 4 else 0)
            | (os.O_CREAT if flags & 8 else 0)
            | (os.O_TRUNC if flags & 16 else 0)
            | (os.O_EXCL if flags & 32 else 0)
        )
        if flags & 2 and os.path.isfile(path) and in_use(path) == "image":
            raise Status(FAILURE)
        if os.path.isdir(path):
            raise Status(FAILURE)
        return new_handle(os.open(path, mode, 0o755))
    if kind == 4:  # CLOSE
        thing = handles.pop(r.string())
        if isinstance(thing, int):
            os.close(thing)
        return OK
    if kind == 5:  # READ
        fd, offset, size = handles[r.string()], r.number("Q"), r.number()
        data = os.pread(fd, min(size, 262144), offset)
        return bytes([103]) + string(data) if data else EOF
    if kind == 6:  # WRITE
        fd, offset, data = handles[r.string()], r.number("Q"), r.string()
        while data:
            n = os.pwrite(fd, data, offset)
            data, offset = data[n:], offset + n
        return OK
    if kind in (7, 17):  # LSTAT, STAT
        path = clean(r.string())
        return bytes([105]) + (ROOT if path == "/" else attributes(os.stat(DRIVE_C + path[3:])))
    if kind == 8:  # FSTAT
        return bytes([105]) + attributes(os.fstat(handles[r.string()]))
    if kind in (9, 10):  # SETSTAT, FSETSTAT: size and times only
        target = unix(r.string()) if kind == 9 else handles[r.string()]
        size, times = r.skip_attributes()
        os.stat(target)
        if size is not None:
            os.truncate(target, size)
        if times:
            os.utime(target, times)
        return OK
    if kind == 11:  # OPENDIR
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
    if kind == 12:  # READDIR
        entries = handles[r.string()]
        if not entries:
            return EOF
        part, entries[:100] = entries[:100], []
        return name_reply(part)
    if kind == 13:  # REMOVE
        path = unix(r.string())
        if os.path.isdir(path):
            raise Status(FAILURE)
        refuse_used(path)
        os.unlink(path)
        return OK
    if kind == 14:  # MKDIR
        os.mkdir(unix(r.string()))
        return OK
    if kind == 15:  # RMDIR
        path = unix(r.string())
        refuse_used(path)
        os.rmdir(path)
        return OK
    if kind == 16:  # REALPATH
        path = clean(r.string())
        return name_reply([(os.fsencode(path), struct.pack(">I", 0))])
    if kind == 18 or kind == 200:  # RENAME, EXTENDED
        if kind == 200:
            name = r.string()
            if name == b"fsync@openssh.com":
                return OK
            if name != b"posix-rename@openssh.com":
                return UNSUPPORTED
        old, new = unix(r.string()), unix(r.string())
        os.stat(old)
        if os.path.exists(new) and old.lower() != new.lower():
            if kind == 18 or os.path.isdir(new):
                raise Status(FAILURE)
            refuse_used(new)
        if in_use(old) == "open":
            raise Status(FAILURE)
        os.rename(old, new)
        return OK
    return UNSUPPORTED


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
