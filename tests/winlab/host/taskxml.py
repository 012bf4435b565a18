"""Reads a Task Scheduler definition as strictly as the service does.

Follows Microsoft's "Task Scheduler Schema" and [MS-TSCH] 2.5: Task, RegistrationInfo, Principal, Settings, Exec,
Repetition and RestartOnFailure are xs:all (any order, each at most once), Triggers and Actions are choices, a
trigger's own elements (Delay, UserId, ScheduleByDay, ...) come after those every trigger has. The order among the
latter is not checked: Microsoft's examples and exports disagree with the schema there. logonType has no
"ServiceAccount" (that is PowerShell's word; SYSTEM is UserId S-1-5-18 without a LogonType). RestartOnFailure/Count:
the schema says 1..255, the user interface and many real exports go to 999, which is accepted.

Encodings, from reports of what schtasks accepts: UTF-16LE with BOM (declared UTF-16 or nothing), or the ANSI code
page (ASCII here) without an encoding declaration. UTF-8 with BOM and UTF-16BE: "(1,2)::ERROR: incorrect document
syntax". A declaration that is not the real encoding: "(1,40)::ERROR: unable to switch the encoding". Declared UTF-8
in 8 bits is uncertain and refused."""

import re
import xml.parsers.expat

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
MALFORMED = "The task XML is malformed."
UNEXPECTED = "The task XML contains an unexpected node."
MISSING = "The task XML is missing a required element or attribute."
BAD_VALUE = "The task XML contains a value which is incorrectly formatted or out of range."
TOO_MANY = "The task XML contains too many nodes of the same type."
NO_ACCOUNT = "No mapping between account names and security IDs was done."


class TaskError(Exception):
    def __init__(self, text, at=(1, 1), element="", value=""):
        super().__init__("%s\n(%d,%d):%s:%s" % (text, at[0], at[1], element, value))


class Node:
    def __init__(self, name, attributes, at):
        self.name, self.attributes, self.at, self.children, self.text = name, attributes, at, [], ""

    def child(self, name):
        return next((c for c in self.children if c.name == name), None)

    def value(self, name, default=None):
        node = self.child(name)
        return node.text if node is not None else default


def decode(data):
    """The bytes of the file -> text, or TaskError."""
    if data[:2] == b"\xff\xfe":
        try:
            text = data[2:].decode("utf-16-le")
        except UnicodeDecodeError:
            raise TaskError(MALFORMED, (1, 2), "", "ERROR: incorrect document syntax")
        wanted = ("", "utf-16")
    elif data[:3] == b"\xef\xbb\xbf" or data[:2] == b"\xfe\xff" or b"\0" in data:
        raise TaskError(MALFORMED, (1, 2), "", "ERROR: incorrect document syntax")
    else:
        try:
            text = data.decode("ascii")
        except UnicodeDecodeError:
            raise TaskError(
                MALFORMED, (1, 2), "", "ERROR: invalid character (stand-in: only ASCII is safe in an 8-bit file)"
            )
        wanted = ("",)
    declaration = re.match(r"<\?xml\s[^>]*?\?>", text)
    encoding = re.search(r'encoding\s*=\s*["\']([^"\']*)', declaration[0]) if declaration else None
    if (encoding[1].lower() if encoding else "") not in wanted:
        raise TaskError(MALFORMED, (1, declaration.end() + 1), "", "ERROR: unable to switch the encoding")
    return text


def tree(text):
    parser = xml.parsers.expat.ParserCreate(encoding="utf-8", namespace_separator=" ")
    root, stack = [], []

    def start(name, attributes):
        space, _, local = name.rpartition(" ")
        node = Node(local, attributes, (parser.CurrentLineNumber, parser.CurrentColumnNumber + 2))
        if space != NAMESPACE and not ((stack and stack[-1].name == "Data") or any(n.name == "Data" for n in stack)):
            raise TaskError(UNEXPECTED, node.at, local)
        (stack[-1].children if stack else root).append(node)
        stack.append(node)

    def characters(data):
        if stack:
            stack[-1].text += data

    def doctype(*_):
        raise TaskError(
            MALFORMED, (parser.CurrentLineNumber, parser.CurrentColumnNumber + 1), "", "ERROR: DTD is not allowed"
        )

    parser.StartElementHandler, parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = start, characters, doctype
    parser.EndElementHandler = lambda name: stack.pop()
    body = re.sub(r"^<\?xml\s[^>]*?\?>", lambda m: " " * len(m[0]), text)
    try:
        parser.Parse(body.encode("utf-8", "surrogatepass"), True)
    except xml.parsers.expat.ExpatError as error:
        raise TaskError(MALFORMED, (error.lineno, error.offset + 1), "", "ERROR: incorrect document syntax")
    return root[0]


# --- values ---------------------------------------------------------------------------------------
def seconds(text):
    """ISO 8601 duration -> seconds, None if it is none (months and years count 30 and 365 days)."""
    m = re.fullmatch(r"P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", text)
    if not m:
        return None
    return sum(int(v or 0) * f for v, f in zip(m.groups(), (31536000, 2592000, 86400, 3600, 60, 1)))


def duration(low=0, high=None):
    def check(text):
        value = seconds(text)
        return value is not None and value >= low and (high is None or value <= high)

    return check


def integer(low, high):
    return lambda text: re.fullmatch(r"\d+", text) is not None and low <= int(text) <= high


def one_of(*words):
    return lambda text: text in words


def pattern(regex):
    return lambda text: re.fullmatch(regex, text) is not None


string = lambda text: True
filled = lambda text: text != ""
boolean = one_of("true", "false", "1", "0")
date_time = pattern(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"
)
guid = pattern(r"\{[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}")
DAY31 = 31 * 86400
# --- elements: name -> (content, required, first version that has it); content: a check of the text, or elements


def optional(**elements):
    return {name: (content, False, 10) for name, content in elements.items()}


def required(**elements):
    return {name: (content, True, 10) for name, content in elements.items()}


ANY = object()
FLAGS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
REPETITION = {**required(Interval=duration(60, DAY31)), **optional(Duration=duration(60), StopAtDurationEnd=boolean)}
TRIGGER = optional(
    Enabled=boolean,
    StartBoundary=date_time,
    EndBoundary=date_time,
    Repetition=REPETITION,
    ExecutionTimeLimit=duration(),
)
TRIGGERS = {
    "BootTrigger": optional(Delay=duration()),
    "RegistrationTrigger": optional(Delay=duration()),
    "IdleTrigger": {},
    "TimeTrigger": optional(RandomDelay=duration()),
    "LogonTrigger": optional(UserId=filled, Delay=duration()),
    "EventTrigger": {
        **required(Subscription=filled),
        **optional(
            Delay=duration(),
            PeriodOfOccurrence=duration(),
            NumberOfOccurrences=integer(1, 32),
            MatchingElement=filled,
            ValueQueries=ANY,
        ),
    },
    "SessionStateChangeTrigger": {
        **optional(UserId=filled, Delay=duration()),
        **required(
            StateChange=one_of(
                "ConsoleConnect",
                "ConsoleDisconnect",
                "RemoteConnect",
                "RemoteDisconnect",
                "SessionLock",
                "SessionUnlock",
            )
        ),
    },
    "CalendarTrigger": {
        **optional(RandomDelay=duration()),
        **optional(
            ScheduleByDay=optional(DaysInterval=integer(1, 365)),
            ScheduleByWeek=ANY,
            ScheduleByMonth=ANY,
            ScheduleByMonthDayOfWeek=ANY,
        ),
    },
}
SETTINGS = {
    **optional(
        AllowStartOnDemand=boolean,
        RestartOnFailure=required(Interval=duration(60, DAY31), Count=integer(1, 999)),
        MultipleInstancesPolicy=one_of("Parallel", "Queue", "IgnoreNew", "StopExisting"),
        DisallowStartIfOnBatteries=boolean,
        StopIfGoingOnBatteries=boolean,
        AllowHardTerminate=boolean,
        StartWhenAvailable=boolean,
        NetworkProfileName=string,
        RunOnlyIfNetworkAvailable=boolean,
        WakeToRun=boolean,
        Enabled=boolean,
        Hidden=boolean,
        DeleteExpiredTaskAfter=duration(),
        IdleSettings=optional(
            Duration=duration(60), WaitTimeout=duration(60), StopOnIdleEnd=boolean, RestartOnIdle=boolean
        ),
        NetworkSettings=optional(Name=filled, Id=guid),
        ExecutionTimeLimit=duration(),
        Priority=integer(0, 10),
        RunOnlyIfIdle=boolean,
    ),
    "UseUnifiedSchedulingEngine": (boolean, False, 13),
    "DisallowStartOnRemoteAppSession": (boolean, False, 13),
    "MaintenanceSettings": (
        {**required(Period=duration(86400)), **optional(Deadline=duration(86400), Exclusive=boolean)},
        False,
        14,
    ),
    "Volatile": (boolean, False, 14),
}
PRINCIPAL = {
    **optional(
        UserId=filled,
        LogonType=one_of("S4U", "Password", "InteractiveToken", "InteractiveTokenOrPassword"),
        GroupId=filled,
        DisplayName=string,
        RunLevel=one_of("LeastPrivilege", "HighestAvailable"),
    ),
    "ProcessTokenSidType": (one_of("None", "Unrestricted", "Default"), False, 13),
    "RequiredPrivileges": (ANY, False, 13),
}
INFO = optional(
    URI=string,
    SecurityDescriptor=string,
    Source=string,
    Date=date_time,
    Author=string,
    Version=string,
    Description=string,
    Documentation=string,
)
EXEC = {**required(Command=filled), **optional(Arguments=string, WorkingDirectory=string)}
ATTRIBUTES = {
    "Task": ("version",),
    "Principal": ("id",),
    "Actions": ("Context",),
    "Exec": ("id",),
    "ComHandler": ("id",),
    **dict.fromkeys(TRIGGERS, ("id",)),
}


def check(node, content, version):
    """One element against its rules, recursively (xs:all)."""
    for name in node.attributes:
        if name not in ATTRIBUTES.get(node.name, ()):
            raise TaskError(UNEXPECTED, node.at, node.name, name)
    if content is ANY:
        return
    if not isinstance(content, dict):
        if node.children:
            raise TaskError(UNEXPECTED, node.children[0].at, node.children[0].name)
        text = node.text if content in (string, filled) else node.text.strip()
        if not content(text):
            raise TaskError(BAD_VALUE, node.at, node.name, node.text)
        return
    if node.text.strip():
        raise TaskError(UNEXPECTED, node.at, node.name, node.text.strip())
    seen = set()
    for child in node.children:
        if child.name not in content or content[child.name][2] > version:
            raise TaskError(UNEXPECTED, child.at, child.name)
        if child.name in seen:
            raise TaskError(TOO_MANY, child.at, child.name)
        seen.add(child.name)
        check(child, content[child.name][0], version)
    for name, (_, needed, _) in content.items():
        if needed and name not in seen:
            raise TaskError(MISSING, node.at, name)


def check_trigger(node, version):
    own = TRIGGERS.get(node.name)
    if own is None:
        raise TaskError(UNEXPECTED, node.at, node.name)
    check(node, {**TRIGGER, **own}, version)
    late = [c.name in own for c in node.children]
    if late != sorted(late):
        bad = next(c for i, c in enumerate(node.children) if c.name in TRIGGER and any(late[:i]))
        raise TaskError(UNEXPECTED, bad.at, bad.name)
    if node.name in ("TimeTrigger", "CalendarTrigger") and node.child("StartBoundary") is None:
        raise TaskError(MISSING, node.at, "StartBoundary")
    if node.name == "CalendarTrigger" and sum(c.name.startswith("ScheduleBy") for c in node.children) != 1:
        raise TaskError(MISSING, node.at, "ScheduleByDay")
    repetition = node.child("Repetition")
    if repetition is not None and repetition.child("Duration") is not None:
        if seconds(repetition.value("Duration")) < seconds(repetition.value("Interval")):
            raise TaskError(BAD_VALUE, repetition.at, "Duration", repetition.value("Duration"))


def validate(root):
    if root.name != "Task":
        raise TaskError(UNEXPECTED, root.at, root.name)
    version = root.attributes.get("version", "1.2")
    if not re.fullmatch(r"1\.[0-6]", version):
        raise TaskError(BAD_VALUE, root.at, "version", version)
    number = int(version.replace(".", ""))
    check(
        root,
        {
            **optional(RegistrationInfo=INFO, Triggers=ANY, Principals=ANY, Settings=SETTINGS, Data=ANY),
            **required(Actions=ANY),
        },
        number,
    )
    triggers, principals, actions = root.child("Triggers"), root.child("Principals"), root.child("Actions")
    for trigger in triggers.children if triggers else ():
        check_trigger(trigger, number)
    if triggers and len(triggers.children) > 48:
        raise TaskError(TOO_MANY, triggers.children[48].at, triggers.children[48].name)
    if principals is not None:
        check(principals, {"Principal": (PRINCIPAL, True, 10)}, number)
        principal = principals.children[0]
        if principal.child("UserId") is not None and principal.child("GroupId") is not None:
            raise TaskError(UNEXPECTED, principal.child("GroupId").at, "GroupId")
    context = actions.attributes.get("Context")
    ids = [p.attributes.get("id") for p in principals.children] if principals else []
    if context is not None and context not in ids:
        raise TaskError(BAD_VALUE, actions.at, "Context", context)
    for name in actions.attributes:
        if name != "Context":
            raise TaskError(UNEXPECTED, actions.at, "Actions", name)
    if not actions.children:
        raise TaskError(MISSING, actions.at, "Actions")
    for action in actions.children:
        if action.name == "Exec":
            check(action, EXEC, number)
        elif action.name == "ComHandler":
            check(action, {**required(ClassId=guid), **optional(Data=ANY)}, number)
        else:
            raise TaskError(UNEXPECTED, action.at, action.name)  # SendEmail, ShowMessage: gone since Windows 8
    if len(actions.children) > 32:
        raise TaskError(TOO_MANY, actions.children[32].at, "Exec")
    return root


def parse(data):
    return validate(tree(decode(data)))
