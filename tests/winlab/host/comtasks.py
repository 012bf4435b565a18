"""Schedule.Service, the Task Scheduler as scripts see it (COM), behind win/taskschd.c: late binding only.

Follows Microsoft's "Task Scheduler Scripting Objects": TaskService (Connect, GetFolder), TaskFolder (Name, Path,
GetFolder, CreateFolder, DeleteFolder, RegisterTask), with the HRESULTs that [MS-TSCH] and reports name. Here is only
one account that may have a password; any is right but the empty one and "wrong". What a real service grants or refuses
an account (log on as a batch job) is not simulated."""

import os

import taskcreate
import taskxml
from common import look_up
from tasknames import Refused, sid_of, task_path

NOT_FOUND, EXISTS, NOT_EMPTY, NOT_CONNECTED = 0x80070002, 0x800700B7, 0x80070091, 0x800704E3
WRONG_PASSWORD, NO_ACCOUNT, MALFORMED = 0x8007052E, 0x80070534, 0x8004131A
UNKNOWN_NAME, BAD_COUNT, BAD_ARGUMENT = 0x80020006, 0x8002000E, 0x80070057
CREATE, UPDATE, PASSWORD = 2, 4, 1
SERVICE = {"connect": (0, 4), "connected": (0, 0), "getfolder": (1, 1)}
"""Names in lower case, with the least and the most arguments; a name's number is its place."""
FOLDER = {
    "name": (0, 0),
    "path": (0, 0),
    "getfolder": (1, 1),
    "createfolder": (1, 2),
    "deletefolder": (2, 2),
    "registertask": (6, 7),
}


class Trouble(Exception):
    def __init__(self, code, said=""):
        self.code, self.said = code, said


class Service:
    names = SERVICE

    def __init__(self, call):
        self.call, self.is_connected = call, False

    def connect(self, *_):
        self.is_connected = True

    def connected(self):
        return self.is_connected

    def getfolder(self, path):
        if not self.is_connected:
            raise Trouble(NOT_CONNECTED)
        return Folder(self.call, "\\").getfolder(path)


class Folder:
    names = FOLDER

    def __init__(self, call, path):
        self.call, self.at, self.scheduler = call, path, call.daemon.scheduler

    def name(self):
        return self.at.rpartition("\\")[2] or "\\"

    def path(self):
        return self.at

    def _below(self, path):
        whole = path if path.startswith("\\") else self.at.rstrip("\\") + "\\" + path
        return "\\" + whole.strip("\\")

    def _disk(self, path):
        return look_up(self.scheduler.folder, [part for part in path.split("\\") if part])

    def getfolder(self, path):
        if not os.path.isdir(self._disk(self._below(path))):
            raise Trouble(NOT_FOUND)
        return Folder(self.call, self._below(path))

    def createfolder(self, path, sddl=None):
        if os.path.isdir(self._disk(self._below(path))):
            raise Trouble(EXISTS)
        os.makedirs(self._disk(self._below(path)))
        return Folder(self.call, self._below(path))

    def deletefolder(self, path, flags):
        place = self._disk(self._below(path))
        if not os.path.isdir(place):
            raise Trouble(NOT_FOUND)
        if os.listdir(place):
            raise Trouble(NOT_EMPTY)
        os.rmdir(place)
        self.scheduler.forget(self._below(path))

    def registertask(self, path, xml, flags, user, password, logon, sddl=None):
        if logon != PASSWORD or flags & ~(CREATE | UPDATE) or not flags & CREATE:
            raise Trouble(BAD_ARGUMENT, "stand-in: only a task with a password is simulated")
        whole = self._below(path)
        if whole.lower() in self.scheduler.tasks and not flags & UPDATE:
            raise Trouble(EXISTS)
        if sid_of(self.call, user) is None:
            raise Trouble(NO_ACCOUNT)
        if password in (None, "", "wrong"):
            raise Trouble(WRONG_PASSWORD, "The user name or password is incorrect.")
        try:
            task_path(whole)
            root = taskxml.parse(b"\xff\xfe" + xml.encode("utf-16-le"))
            taskcreate.account(self.call, root, {"RU": user, "RP": password, "XML": xml})
        except (Refused, taskxml.TaskError) as error:
            raise Trouble(MALFORMED, str(error)) from None
        text = taskcreate.written(whole, root)
        self.scheduler.register(whole, text, taskxml.parse(b"\xff\xfe" + text.encode("utf-16-le")))


def value(text):
    kind, rest = text[:1], text[1:]
    return {"n": None, "s": rest}[kind] if kind in "ns" else int(rest) if kind == "i" else rest == "1"


def main(call):
    """Answer one program until it lets go of the library."""
    objects = [None]

    def told(found):
        if isinstance(found, (Service, Folder)):
            objects.append(found)
            return f"o{len(objects) - 1}"
        if isinstance(found, bool):
            return f"b{int(found)}"
        return "n" if found is None else f"s{found}"

    def done(verb, *rest):
        if verb == "new":
            return told(Service(call))
        target = objects[int(rest[0])]
        if verb == "name":
            if rest[1].lower() not in target.names:
                raise Trouble(UNKNOWN_NAME)
            return f"i{list(target.names).index(rest[1].lower()) + 1}"
        name, (least, most) = list(target.names.items())[int(rest[1]) - 1]
        if not least <= len(rest) - 2 <= most:
            raise Trouble(BAD_COUNT)
        return told(getattr(target, name)(*map(value, rest[2:])))

    while True:
        try:
            _, data = call.receive()
        except OSError:
            return 0
        try:
            code, said = 0, done(*data.decode("utf-16-le", "surrogatepass").split("\0"))
        except Trouble as trouble:
            code, said = trouble.code, trouble.said
        call.send(b"A", f"{code}\0{said}".encode("utf-16-le"))
