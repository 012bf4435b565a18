"""Definitions of scheduled tasks as files, good ones and ones that the Task Scheduler refuses."""

from __future__ import annotations

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
SYSTEM = "<UserId>S-1-5-18</UserId>"


def definition(
    *,
    triggers: str = "",
    principal: str = SYSTEM,
    settings: str = "",
    command: str = "cmd.exe",
    arguments: str = "/c exit 0",
    attributes: str = 'version="1.2"',
    namespace: str = NAMESPACE,
    rest: str = "",
) -> str:
    """Return a task's XML; the parts are put in as they are."""
    action = f"<Exec><Command>{command}</Command><Arguments>{arguments}</Arguments></Exec>"
    return (
        f'<?xml version="1.0" encoding="UTF-16"?>\r\n<Task {attributes} xmlns="{namespace}">\r\n'
        f'<Triggers>{triggers}</Triggers>\r\n<Principals><Principal id="A">{principal}</Principal></Principals>\r\n'
        f'<Settings>{settings}</Settings>\r\n<Actions Context="A">{action}</Actions>{rest}\r\n</Task>'
    )


def utf16(text: str) -> bytes:
    """Return a text as the Task Scheduler wants it in a file."""
    return b"\xff\xfe" + text.encode("utf-16-le")


def user(name: str, logon: str = "S4U") -> str:
    """Return the principal that is a user."""
    return f"<UserId>{name}</UserId><LogonType>{logon}</LogonType>"


ACCEPTED = {
    "what a provisioner needs": utf16(
        definition(
            triggers="<BootTrigger><Enabled>true</Enabled><Delay>PT5S</Delay></BootTrigger>",
            principal=f"{SYSTEM}<RunLevel>HighestAvailable</RunLevel>",
            settings="<MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>"
            "<ExecutionTimeLimit>PT0S</ExecutionTimeLimit><Priority>4</Priority>"
            "<RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>",
        )
    ),
    "the user by name": utf16(definition(principal=user("winadmin"))),
    "ASCII that declares nothing": definition().replace(' encoding="UTF-16"', "").encode(),
}
REFUSED = {
    "UTF-8 with BOM": (b"\xef\xbb\xbf" + definition().encode(), "incorrect document syntax"),
    "8 bits declared UTF-16": (definition().encode(), "unable to switch the encoding"),
    "UTF-16 declared UTF-8": (utf16(definition().replace("UTF-16", "UTF-8")), "unable to switch the encoding"),
    "not closed": (utf16(definition()[:-7]), "malformed"),
    "wrong namespace": (utf16(definition(namespace="urn:x")), "unexpected node"),
    "Settings twice": (utf16(definition(rest="<Settings/>")), "too many"),
    "unknown element": (utf16(definition(settings="<RestartOnFail/>")), "unexpected node"),
    "True": (utf16(definition(settings="<Enabled>True</Enabled>")), "incorrectly formatted"),
    "ExecutionTimeLimit 0": (
        utf16(definition(settings="<ExecutionTimeLimit>0</ExecutionTimeLimit>")),
        "ExecutionTimeLimit:0",
    ),
    "restart below a minute": (
        utf16(
            definition(
                settings="<RestartOnFailure><Interval>PT30S</Interval><Count>3</Count></RestartOnFailure>",
            )
        ),
        "Interval:PT30S",
    ),
    "PowerShell's ServiceAccount": (
        utf16(definition(principal=f"{SYSTEM}<LogonType>ServiceAccount</LogonType>")),
        "LogonType:ServiceAccount",
    ),
    "unknown account": (
        utf16(definition(principal="<UserId>nobody</UserId>")),
        "No mapping between account names",
    ),
    "Password without one": (utf16(definition(principal=user("winadmin", "Password"))), "password is incorrect"),
    "Delay before Enabled": (
        utf16(definition(triggers="<BootTrigger><Delay>PT5S</Delay><Enabled>true</Enabled></BootTrigger>")),
        "unexpected node",
    ),
    "empty Command": (utf16(definition(command="")), "Command"),
    "version 2.0": (utf16(definition(attributes='version="2.0"')), "version"),
}
