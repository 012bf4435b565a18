"""schtasks /Create: the definition that /SC and /TR stand for, who it runs as, and how the service writes it back."""

import datetime
import re
from xml.sax.saxutils import escape, quoteattr

import taskxml
from common import USER_SID, unix_path
from scheduler import SYSTEM_SIDS
from tasknames import GROUPS, Refused, asks, say, sid_of, task_path


def basic_xml(call, opt):
    """The definition that /SC and /TR stand for."""
    kind = opt.get("SC", "").upper()
    if not kind or "TR" not in opt or "TN" not in opt:
        missing = next(n for n in ("TN", "TR", "SC") if n not in opt)
        raise Refused(
            f"ERROR: Invalid syntax. Mandatory option '{missing.lower()}' is missing.\nType \"SCHTASKS /CREATE "
            f'/?" for usage.'
        )
    if len(opt["TR"]) > 261:
        raise Refused("ERROR: Value for '/TR' option cannot be more than 261 character(s).")
    m = re.match(r'\s*(?:"([^"]*)"|\'([^\']*)\'|(\S+))\s*(.*)', opt["TR"], re.S)
    if not m:
        raise Refused("ERROR: Invalid syntax. Value expected for '/TR'.")
    command, arguments = m[1] or m[2] or m[3] or "", m[4]
    now = datetime.datetime.now()
    start = now.strftime("%Y-%m-%dT%H:%M:00")
    if "ST" in opt:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", opt["ST"]):
            raise Refused("ERROR: Invalid Starttime value.")
        start = now.strftime("%Y-%m-%dT") + opt["ST"] + ":00"
    try:
        every = int(opt.get("MO", 1))
    except ValueError:
        raise Refused("ERROR: Invalid modifier value.") from None
    limits = {"MINUTE": 1439, "HOURLY": 23, "DAILY": 365}
    if kind in limits and not 1 <= every <= limits[kind]:
        raise Refused(f"ERROR: Invalid value for /MO option: valid range is 1 - {limits[kind]}.")
    delay = ""
    if "DELAY" in opt:
        if kind not in ("ONSTART", "ONLOGON") or not re.fullmatch(r"\d{4}:\d\d", opt["DELAY"]):
            raise Refused("ERROR: Invalid value for '/DELAY' option (mmmm:ss, only with ONSTART, ONLOGON, ONEVENT).")
        delay = "<Delay>PT%dM%dS</Delay>" % tuple(map(int, opt["DELAY"].split(":")))
    if kind == "ONSTART":
        trigger = f"<BootTrigger>{delay}</BootTrigger>"
    elif kind == "ONLOGON":
        trigger = f"<LogonTrigger>{delay}</LogonTrigger>"
    elif kind == "ONCE":
        if "ST" not in opt:
            raise Refused("ERROR: Invalid syntax. Mandatory option 'ST' is missing.")
        trigger = f"<TimeTrigger><StartBoundary>{start}</StartBoundary></TimeTrigger>"
    elif kind in ("MINUTE", "HOURLY"):
        repetition = f"<Repetition><Interval>PT{every}{kind[0]}</Interval></Repetition>"
        trigger = f"<TimeTrigger><StartBoundary>{start}</StartBoundary>{repetition}</TimeTrigger>"
    elif kind == "DAILY":
        days = f"<ScheduleByDay><DaysInterval>{every}</DaysInterval></ScheduleByDay>"
        trigger = f"<CalendarTrigger><StartBoundary>{start}</StartBoundary>{days}</CalendarTrigger>"
    elif kind in ("WEEKLY", "MONTHLY", "ONIDLE", "ONEVENT"):
        raise Refused(f"stand-in: /SC {kind} is not simulated")
    else:
        raise Refused("ERROR: Invalid Schedule Type specified.")
    level = opt.get("RL", "LIMITED").upper()
    if level not in ("LIMITED", "HIGHEST"):
        raise Refused("ERROR: Invalid value for '/RL' option.")
    run_level = "HighestAvailable" if level == "HIGHEST" else "LeastPrivilege"
    parameters = f"<Arguments>{escape(arguments)}</Arguments>" if arguments else ""
    return (
        f'<?xml version="1.0" encoding="UTF-16"?><Task version="1.2" xmlns="{taskxml.NAMESPACE}">'
        f'<Triggers>{trigger}</Triggers><Principals><Principal id="Author"><RunLevel>{run_level}</RunLevel></Principal>'
        f"</Principals><Actions "
        f'Context="Author"><Exec><Command>{escape(command)}</Command>{parameters}</Exec></Actions>'
        "</Task>"
    )


def account(call, root, opt):
    """Settles who the task runs as, from /RU /RP /NP /IT and the XML's Principal; refuses what the service refuses."""
    principals = root.child("Principals")
    if principals is None:
        principals = taskxml.Node("Principals", {}, root.at)
        principals.children.append(taskxml.Node("Principal", {"id": "Author"}, root.at))
        root.children.append(principals)
    principal = principals.children[0]

    def put(name, text):
        principal.children = [c for c in principal.children if c.name != name]
        if text is not None:
            node = taskxml.Node(name, {}, principal.at)
            node.text = text
            principal.children.append(node)

    if "RU" in opt:
        sid = sid_of(call, opt["RU"])
        if sid is None:
            raise Refused(f"ERROR: {taskxml.NO_ACCOUNT}")
        put("GroupId", None)
        put("UserId", sid)
        if sid in SYSTEM_SIDS:
            put("LogonType", None)
        elif sid == USER_SID:
            if "NP" in opt:
                put("LogonType", "S4U")
            elif "RP" in opt:
                put("LogonType", "InteractiveTokenOrPassword" if "IT" in opt else "Password")
            elif "XML" in opt and principal.value("LogonType") in ("S4U", "InteractiveToken"):
                pass
            elif "IT" in opt:
                put("LogonType", "InteractiveToken")
            else:
                call.out(f"Please enter the run as password for {opt['RU']}: ")
                call.stdin()
                raise Refused("\nERROR: The user name or password is incorrect.")
    else:
        for name in ("UserId", "GroupId"):
            node = principal.child(name)
            if node is not None:
                sid = sid_of(call, node.text)
                if sid is None or (sid in GROUPS.values()) != (name == "GroupId"):
                    raise taskxml.TaskError(taskxml.NO_ACCOUNT, node.at, name, node.text)
                put(name, sid)
        if principal.child("UserId") is None and principal.child("GroupId") is None:
            put("UserId", USER_SID)
        if principal.value("UserId") in SYSTEM_SIDS and principal.child("LogonType") is not None:
            raise taskxml.TaskError(
                taskxml.BAD_VALUE, principal.child("LogonType").at, "LogonType", principal.value("LogonType")
            )
        if principal.value("LogonType") == "Password" and "RP" not in opt:
            raise Refused("ERROR: The user name or password is incorrect.")
        if "NP" in opt and principal.value("UserId") == USER_SID:
            put("LogonType", "S4U")


def written(path, root):
    """The definition as the service writes it back."""
    order = ["RegistrationInfo", "Triggers", "Principals", "Settings", "Data", "Actions"]
    info = root.child("RegistrationInfo")
    if info is None:
        info = taskxml.Node("RegistrationInfo", {}, root.at)
        root.children.append(info)
    info.children = [c for c in info.children if c.name != "URI"]
    uri = taskxml.Node("URI", {}, root.at)
    uri.text = path
    info.children.append(uri)

    def lines(node, depth):
        start = "  " * depth + "<" + node.name + "".join(f" {k}={quoteattr(v)}" for k, v in node.attributes.items())
        if node is root:
            start += f' xmlns="{taskxml.NAMESPACE}"'
        if not node.children:
            return [start + (f">{escape(node.text)}</{node.name}>" if node.text else " />")]
        children = sorted(node.children, key=lambda c: order.index(c.name)) if node is root else node.children
        return [start + ">"] + [x for c in children for x in lines(c, depth + 1)] + ["  " * depth + f"</{node.name}>"]

    root.attributes.setdefault("version", "1.2")
    return '<?xml version="1.0" encoding="UTF-16"?>\r\n' + "\r\n".join(lines(root, 0))


def create(call, opt):
    if "XML" in opt:
        for name in ("SC", "TR", "MO", "ST", "RL", "DELAY"):
            if name in opt:
                raise Refused(
                    'ERROR: Invalid syntax. /XML cannot be used with /%s.\nType "SCHTASKS /CREATE /?" for usage.' % name
                )
        if "TN" not in opt:
            raise Refused(
                "ERROR: Invalid syntax. Mandatory option 'tn' is missing.\nType \"SCHTASKS /CREATE /?\" for usage."
            )
        file = unix_path(opt["XML"], call.cwd)
        try:
            with open(file or "", "rb") as handle:
                data = handle.read()
        except OSError:
            raise Refused("ERROR: " + say(call, "The system cannot find the file specified.")) from None
    else:
        data = b"\xff\xfe" + basic_xml(call, opt).encode("utf-16-le")
    path = task_path(opt["TN"])
    root = taskxml.parse(data)
    account(call, root, opt)
    schedule = call.daemon.scheduler
    if path.lower() in schedule.tasks and "F" not in opt:
        if not asks(call, f'WARNING: The task name "{opt["TN"]}" already exists. Do you want to replace it (Y/N)? '):
            raise Refused("")
    text = written(path, root)
    schedule.register(path, text, taskxml.parse(b"\xff\xfe" + text.encode("utf-16-le")))
    call.out(say(call, 'SUCCESS: The scheduled task "%s" has successfully been created.', opt["TN"]) + "\n")
