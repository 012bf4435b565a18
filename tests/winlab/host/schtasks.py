"""schtasks.exe: /Create (XML, ONSTART, ONLOGON, ONCE, MINUTE, HOURLY, DAILY), /Run, /End, /Delete, /Query, /Change /ENABLE|/DISABLE.

Follows Microsoft's schtasks reference: option names in any case, unknown or missing options are errors with exit code 1, a task that
exists is replaced only with /F (else it asks, and end of input means no), /RU of a normal user needs /RP or /NP, a remote /S is not
simulated. A registered task is written back by the service in its own form (URI added, accounts as SIDs, UTF-16, other spacing), so
comparing /Query /XML with the text one registered never matches. Messages are English, or Korean on a code page 949 host.
Uncertain on real Windows: the exit code of /End when nothing runs (here 0)."""

import datetime
import re
from xml.sax.saxutils import escape, quoteattr

import taskxml
from common import USER_SID, unix_path
from scheduler import SYSTEM_SIDS, Task  # noqa: F401

VALUES = {
    "create": ["S", "U", "P", "RU", "RP", "SC", "MO", "D", "M", "I", "TN", "TR", "ST", "RI", "ET", "DU", "SD", "ED", "XML", "RL", "DELAY", "EC"],
    "run": ["S", "U", "P", "TN"],
    "end": ["S", "U", "P", "TN"],
    "delete": ["S", "U", "P", "TN"],
    "query": ["S", "U", "P", "FO", "TN"],
    "change": ["S", "U", "P", "TN", "RU", "RP", "TR", "ST", "RI", "ET", "DU", "SD", "ED", "RL", "DELAY"],
}
FLAGS = {
    "create": ["F", "NP", "Z", "IT", "K", "V1", "HRESULT"],
    "run": ["I", "HRESULT"],
    "end": ["HRESULT"],
    "delete": ["F", "HRESULT"],
    "query": ["NH", "V", "XML", "HRESULT"],
    "change": ["ENABLE", "DISABLE", "IT", "Z", "K", "HRESULT"],
}
KOREAN = {
    'SUCCESS: The scheduled task "%s" has successfully been created.': '성공: 예약된 작업 "%s"을(를) 만들었습니다.',
    'SUCCESS: Attempted to run the scheduled task "%s".': '성공: 예약된 작업 "%s"을(를) 실행하려고 했습니다.',
    'SUCCESS: The scheduled task "%s" has been terminated successfully.': '성공: 예약된 작업 "%s"이(가) 종료되었습니다.',
    'SUCCESS: The scheduled task "%s" was successfully deleted.': '성공: 예약된 작업 "%s"을(를) 삭제했습니다.',
    "The system cannot find the file specified.": "지정된 파일을 찾을 수 없습니다.",
    "Ready": "준비",
    "Running": "실행 중",
    "Disabled": "사용 안 함",
}
ACCOUNTS = {
    "system": "S-1-5-18",
    "nt authority\\system": "S-1-5-18",
    "local service": "S-1-5-19",
    "nt authority\\local service": "S-1-5-19",
    "nt authority\\localservice": "S-1-5-19",
    "network service": "S-1-5-20",
    "nt authority\\network service": "S-1-5-20",
    "nt authority\\networkservice": "S-1-5-20",
}
GROUPS = {
    "builtin\\administrators": "S-1-5-32-544",
    "administrators": "S-1-5-32-544",
    "builtin\\users": "S-1-5-32-545",
    "users": "S-1-5-32-545",
}


class Refused(Exception):
    pass


def sid_of(call, name):
    """An account's name -> SID; '' means SYSTEM, as in /RU ""; None if there is no such account."""
    key, user, host = name.strip().lower(), call.config["user"].lower(), call.config["name"].lower()
    if key in ("", *ACCOUNTS):
        return ACCOUNTS.get(key, "S-1-5-18")
    if key in (user, f"{host}\\{user}", f".\\{user}", USER_SID.lower()):
        return USER_SID
    if key.upper() in SYSTEM_SIDS or key.upper() in GROUPS.values():
        return key.upper()
    return GROUPS.get(key)


def options(verb, args):
    found, i = {}, 0
    while i < len(args):
        arg = args[i]
        name = arg[1:].upper() if arg[:1] in "/-" and arg else None
        if name == "XML" and verb == "query" and i + 1 < len(args) and args[i + 1].upper() == "ONE":
            i += 1
        if name is None or name not in VALUES[verb] + FLAGS[verb]:
            raise Refused(f"ERROR: Invalid argument/option - '{arg}'.\nType \"SCHTASKS /{verb.upper()} /?\" for usage.")
        if name in found:
            raise Refused(
                f"ERROR: Invalid syntax. '/{name}' option is not allowed more than '1' time(s).\nType \"SCHTASKS /{verb.upper()} /?\" for usage."
            )
        if name in VALUES[verb]:
            i += 1
            if i >= len(args) or (args[i][:1] == "/" and args[i][1:].upper() in VALUES[verb] + FLAGS[verb]):
                raise Refused(
                    f"ERROR: Invalid syntax. Value expected for '/{name}'.\nType \"SCHTASKS /{verb.upper()} /?\" for usage."
                )
            found[name] = args[i]
        else:
            found[name] = True
        i += 1
    return found


def task_path(name):
    path = "\\" + name.strip("\\")
    if len(path) > 238 or re.search(r'[<>:"/|?*]', path) or "\\\\" in path or path == "\\" or path.endswith((" ", ".")):
        raise Refused("ERROR: The filename, directory name, or volume label syntax is incorrect.")
    return path


def say(call, english, *values):
    korean = KOREAN.get(english) if call.korean else None
    return (korean or english) % values if values else (korean or english)


def asks(call, question):
    call.out(question)
    return call.stdin()[:1].lower() == b"y"


# --- /Create ------------------------------------------------------------------------------------------------------------------------------
def basic_xml(call, opt):
    """The definition that /SC and /TR stand for."""
    kind = opt.get("SC", "").upper()
    if not kind or "TR" not in opt or "TN" not in opt:
        missing = next(n for n in ("TN", "TR", "SC") if n not in opt)
        raise Refused(
            f"ERROR: Invalid syntax. Mandatory option '{missing.lower()}' is missing.\nType \"SCHTASKS /CREATE /?\" for usage."
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
        trigger = f"<TimeTrigger><StartBoundary>{start}</StartBoundary><Repetition><Interval>PT{every}{kind[0]}</Interval></Repetition></TimeTrigger>"
    elif kind == "DAILY":
        trigger = f"<CalendarTrigger><StartBoundary>{start}</StartBoundary><ScheduleByDay><DaysInterval>{every}</DaysInterval></ScheduleByDay></CalendarTrigger>"
    elif kind in ("WEEKLY", "MONTHLY", "ONIDLE", "ONEVENT"):
        raise Refused(f"stand-in: /SC {kind} is not simulated")
    else:
        raise Refused("ERROR: Invalid Schedule Type specified.")
    level = opt.get("RL", "LIMITED").upper()
    if level not in ("LIMITED", "HIGHEST"):
        raise Refused("ERROR: Invalid value for '/RL' option.")
    return (
        f'<?xml version="1.0" encoding="UTF-16"?><Task version="1.2" xmlns="{taskxml.NAMESPACE}"><Triggers>{trigger}</Triggers>'
        f'<Principals><Principal id="Author"><RunLevel>{"HighestAvailable" if level == "HIGHEST" else "LeastPrivilege"}</RunLevel></Principal></Principals>'
        f'<Actions Context="Author"><Exec><Command>{escape(command)}</Command><Arguments>{escape(arguments)}</Arguments></Exec></Actions></Task>'.replace(
            "<Arguments></Arguments>", ""
        )
    )


def account(call, root, opt):
    """Settles who the task runs as, from /RU /RP /NP /IT and the XML's Principal, and refuses what the service refuses."""
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


# --- the other verbs ----------------------------------------------------------------------------------------------------------------------
def find(call, opt):
    if "TN" not in opt:
        raise Refused("ERROR: Invalid syntax. Mandatory option 'tn' is missing.")
    task = call.daemon.scheduler.tasks.get(task_path(opt["TN"]).lower())
    if task is None:
        raise Refused("ERROR: " + say(call, "The system cannot find the file specified."))
    return task


def run(call, opt):
    task = find(call, opt)
    if not task.enabled:
        raise Refused("ERROR: The task is disabled.")
    if task.settings.value("AllowStartOnDemand", "true").strip() in ("false", "0"):
        raise Refused("ERROR: The operator or administrator has refused the request.")
    call.daemon.scheduler.start(task, "/Run")
    call.out(say(call, 'SUCCESS: Attempted to run the scheduled task "%s".', opt["TN"]) + "\n")


def end(call, opt):
    task = find(call, opt)
    if not task.instances:
        call.out(f'INFO: The scheduled task "{opt["TN"]}" is currently not running.\n')
        return
    call.daemon.scheduler.end(task)
    call.out(say(call, 'SUCCESS: The scheduled task "%s" has been terminated successfully.', opt["TN"]) + "\n")


def delete(call, opt):
    if opt.get("TN") == "*":
        tasks = list(call.daemon.scheduler.tasks.values())
    else:
        tasks = [find(call, opt)]
    if "F" not in opt and not asks(call, f'WARNING: Are you sure you want to remove the task "{opt["TN"]}" (Y/N)? '):
        raise Refused("")
    for task in tasks:  # a running instance goes on: deleting a task stops nothing
        call.daemon.scheduler.delete(task)
        call.out(
            say(
                call,
                'SUCCESS: The scheduled task "%s" was successfully deleted.',
                task.path if opt["TN"] == "*" else opt["TN"],
            )
            + "\n"
        )


def change(call, opt):
    task = find(call, opt)
    if {"ENABLE", "DISABLE"} & set(opt) == set() or len(set(opt) - {"TN", "ENABLE", "DISABLE"}):
        raise Refused("stand-in: schtasks /Change is simulated for /ENABLE and /DISABLE only")
    root = taskxml.parse(b"\xff\xfe" + task.text.encode("utf-16-le"))
    settings = root.child("Settings")
    if settings is None:
        settings = taskxml.Node("Settings", {}, root.at)
        root.children.append(settings)
    settings.children = [c for c in settings.children if c.name != "Enabled"]
    node = taskxml.Node("Enabled", {}, root.at)
    node.text = "true" if "ENABLE" in opt else "false"
    settings.children.append(node)
    text = written(task.path, root)
    call.daemon.scheduler.register(task.path, text, taskxml.parse(b"\xff\xfe" + text.encode("utf-16-le")))
    call.out(f'SUCCESS: The parameters of scheduled task "{opt["TN"]}" have been changed.\n')


COLUMNS = [
    "HostName",
    "TaskName",
    "Next Run Time",
    "Status",
    "Logon Mode",
    "Last Run Time",
    "Last Result",
    "Author",
    "Task To Run",
    "Start In",
    "Comment",
    "Scheduled Task State",
    "Idle Time",
    "Power Management",
    "Run As User",
    "Delete Task If Not Rescheduled",
    "Stop Task If Runs X Hours and X Mins",
    "Schedule",
    "Schedule Type",
    "Start Time",
    "Start Date",
    "End Date",
    "Days",
    "Months",
    "Repeat: Every",
    "Repeat: Until: Time",
    "Repeat: Until: Duration",
    "Repeat: Stop If Still Running",
]


def row(call, task):
    info, action = task.root.child("RegistrationInfo"), task.root.child("Actions").children[0]
    limit = task.time_limit
    code = task.last_result - (1 << 32) if task.last_result >= 1 << 31 else task.last_result
    started = "11/30/1999 12:00:00 AM"
    if task.last_run:
        started = datetime.datetime.fromisoformat(task.last_run).strftime("%-m/%-d/%Y %-I:%M:%S %p")
    kinds = {"BootTrigger": "At system start up", "LogonTrigger": "At logon time", "TimeTrigger": "One Time Only"}
    triggers = task.triggers("BootTrigger", "LogonTrigger", "TimeTrigger", "CalendarTrigger", "RegistrationTrigger")
    mode = {None: "Interactive/Background", "S4U": "Background only", "Password": "Interactive/Background"}.get(
        task.logon, "Interactive only"
    )
    values = {
        "HostName": call.config["name"].upper(),
        "TaskName": task.path,
        "Next Run Time": "N/A",
        "Status": say(call, task.status),
        "Logon Mode": mode,
        "Last Run Time": started,
        "Last Result": str(code),
        "Author": (info.value("Author") if info else None) or "N/A",
        "Task To Run": " ".join(filter(None, [action.value("Command", "COM handler"), action.value("Arguments", "")])),
        "Start In": action.value("WorkingDirectory") or "N/A",
        "Comment": (info.value("Description") if info else None) or "N/A",
        "Scheduled Task State": "Enabled" if task.enabled else "Disabled",
        "Idle Time": "Disabled",
        "Power Management": "",
        "Run As User": SYSTEM_SIDS.get(task.sid)
        or ("Administrators" if task.sid in GROUPS.values() else call.config["user"]),
        "Delete Task If Not Rescheduled": "Disabled",
        "Stop Task If Runs X Hours and X Mins": "%02d:%02d:%02d" % (limit // 3600, limit // 60 % 60, limit % 60)
        if limit
        else "Disabled",
        "Schedule": "Scheduling data is not available in this format.",
        "Schedule Type": kinds.get(triggers[0].name, "Undefined") if triggers else "On demand only",
    }
    return [values.get(c, "N/A") for c in COLUMNS]


def query(call, opt):
    tasks = (
        [find(call, opt)] if "TN" in opt else sorted(call.daemon.scheduler.tasks.values(), key=lambda t: t.path.lower())
    )
    style = opt.get("FO", "TABLE").upper()
    if style not in ("TABLE", "LIST", "CSV") or ("XML" in opt and ("FO" in opt or "V" in opt)):
        raise Refused(
            'ERROR: Invalid syntax. Value of /FO or the combination with /XML is not valid.\nType "SCHTASKS /QUERY /?" for usage.'
        )
    if not tasks:
        call.out("INFO: There are no scheduled tasks presently available at your access level.\n")
    if "XML" in opt:
        for task in tasks:
            call.out(task.text.replace("\r\n", "\n") + "\n\n")
        return
    names = COLUMNS if "V" in opt else ["TaskName", "Next Run Time", "Status"]
    if "V" not in opt and style == "LIST":
        names = ["HostName", "TaskName", "Next Run Time", "Status", "Logon Mode"]
    table = [[r[COLUMNS.index(n)] for n in names] for r in (row(call, t) for t in tasks)]
    if style == "CSV":
        rows = ([] if "NH" in opt else [names]) + table
        call.out("".join(",".join('"%s"' % v.replace('"', '""') for v in r) + "\n" for r in rows))
    elif style == "LIST":
        for task, values in zip(tasks, table):
            call.out(
                "\nFolder: %s\n" % (task.path.rsplit("\\", 1)[0] or "\\")
                + "".join(f"{n + ':':<38}{v}\n" for n, v in zip(names, values))
            )
    else:
        folder = None
        for task, values in zip(tasks, table):
            here, name = task.path.rsplit("\\", 1)
            if here != folder and "NH" not in opt:
                call.out(
                    "\nFolder: %s\n%-40s %-22s %-15s\n%s %s %s\n"
                    % (here or "\\", "TaskName", "Next Run Time", "Status", "=" * 40, "=" * 22, "=" * 15)
                )
            folder = here
            call.out("%-40.40s %-22s %-15s\n" % (name, "N/A", values[names.index("Status")]))


VERBS = {"create": create, "run": run, "end": end, "delete": delete, "query": query, "change": change}


def main(call):
    args = call.args
    verb = args[0][1:].lower() if args and args[0][:1] in "/-" else "query" if not args else None
    try:
        if verb == "?":
            call.out("SCHTASKS /parameter [arguments] (stand-in: see Microsoft's reference)\n")
            return 0
        if verb not in VERBS:
            raise Refused(f"ERROR: Invalid argument/option - '{args[0]}'.\nType \"SCHTASKS /?\" for usage.")
        opt = options(verb, args[1:])
        if "S" in opt or "U" in opt:
            raise Refused("stand-in: remote schtasks is not simulated")
        VERBS[verb](call, opt)
        return 0
    except Refused as error:
        call.err(str(error).replace("ERROR:", "오류:" if call.korean else "ERROR:") + "\n" if str(error) else "")
        return 1
    except taskxml.TaskError as error:
        call.err(("오류: " if call.korean else "ERROR: ") + str(error) + "\n")
        return 1
