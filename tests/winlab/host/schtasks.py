"""schtasks.exe: /Create (XML, ONSTART, ONLOGON, ONCE, MINUTE, HOURLY, DAILY), /Run, /End, /Delete, /Query, /Change
/ENABLE|/DISABLE.

Follows Microsoft's schtasks reference: option names in any case, unknown or missing options are errors with exit
code 1, a task that exists is replaced only with /F (else it asks, and end of input means no), /RU of a normal user
needs /RP or /NP, a remote /S is not simulated. A registered task is written back by the service in its own form
(URI added, accounts as SIDs, UTF-16, other spacing), so comparing /Query /XML with the text one registered never
matches. Messages are English, or Korean on a code page 949 host. Uncertain on real Windows: the exit code of /End
when nothing runs (here 0)."""

import datetime

import taskxml
from scheduler import SYSTEM_SIDS
from taskcreate import create, written
from tasknames import GROUPS, Refused, asks, say, task_path

VALUES = {
    "create": [
        *["S", "U", "P", "RU", "RP", "SC", "MO", "D", "M", "I", "TN", "TR", "ST", "RI", "ET", "DU", "SD", "ED"],
        *["XML", "RL", "DELAY", "EC"],
    ],
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
                f"ERROR: Invalid syntax. '/{name}' option is not allowed more than '1' time(s).\nType \"SCHTASKS "
                f'/{verb.upper()} /?" for usage.'
            )
        if name in VALUES[verb]:
            i += 1
            if i >= len(args) or (args[i][:1] == "/" and args[i][1:].upper() in VALUES[verb] + FLAGS[verb]):
                raise Refused(
                    f"ERROR: Invalid syntax. Value expected for '/{name}'.\nType \"SCHTASKS /{verb.upper()} /?\" "
                    f"for usage."
                )
            found[name] = args[i]
        else:
            found[name] = True
        i += 1
    return found


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
            'ERROR: Invalid syntax. Value of /FO or the combination with /XML is not valid.\nType "SCHTASKS '
            '/QUERY /?" for usage.'
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
