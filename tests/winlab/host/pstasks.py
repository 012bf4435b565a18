"""What PowerShell does with tasks and schtasks can't: a task with a password that is in no command line, and folders.

Follows Register-ScheduledTask (ScheduledTasks module: -Xml is the definition as a string, -User and -Password say who
it runs as and make its logon type Password) and the Task Scheduler's scripting objects (TaskFolder.DeleteFolder refuses
a folder that holds anything). Any password but the empty one is taken; there is only one account that may have one."""

import os
import re

import taskcreate
import taskxml
from common import unix_path
from tasknames import Refused

REGISTER = re.compile(
    r"Register-ScheduledTask -Force -TaskPath '(\\\w+\\)' -TaskName '([\w.-]+)' -Xml \$(\w+) "
    r"-User \$env:(\w+) -Password \$env:(\w+) \| Out-Null"
)
READ = re.compile(r"\$(\w+) = Get-Content -Raw -LiteralPath \$env:(\w+)")
SERVICE = re.compile(r"\$(\w+) = New-Object -ComObject Schedule\.Service")
DELETE = re.compile(r"\$(\w+)\.GetFolder\('\\'\)\.DeleteFolder\('(\w+)', 0\)")


class Failed(Exception):
    """A statement that ends the script, with $ErrorActionPreference = 'Stop' or not: an exception of .NET."""


def plan(runner, text):
    """One statement -> a function that does it; None if it is none of these."""
    for pattern, act in ((REGISTER, register), (READ, read), (SERVICE, connect), (DELETE, delete)):
        found = pattern.fullmatch(text)
        if found:
            return lambda: act(runner, *found.groups())
    if re.fullmatch(r"\$\w+\.Connect\(\)|\$ErrorActionPreference = 'Stop'", text):
        return lambda: None
    return None


def read(runner, name, variable):
    path = unix_path(runner.call.env.get(variable.upper(), ""), runner.call.cwd)
    try:
        with open(path or "", "rb") as file:
            data = file.read()
    except OSError as error:
        raise Failed(f"Get-Content : {error.strerror}") from None
    runner.variables[name.lower()] = data.decode("utf-16") if data[:2] == b"\xff\xfe" else data.decode("cp1252")


def connect(runner, name):
    runner.variables[name.lower()] = "System.__ComObject"


def register(runner, folder, name, xml, user, password):
    call = runner.call
    given = {"RU": call.env.get(user.upper(), ""), "RP": call.env.get(password.upper(), ""), "XML": xml}
    try:
        if not given["RP"]:
            raise Refused("The user name or password is incorrect.")
        root = taskxml.parse(b"\xff\xfe" + runner.variables[xml.lower()].encode("utf-16-le"))
        taskcreate.account(call, root, given)
    except (Refused, taskxml.TaskError) as error:
        raise Failed(f"Register-ScheduledTask : {error}") from None
    text = taskcreate.written(folder + name, root)
    call.daemon.scheduler.register(folder + name, text, taskxml.parse(b"\xff\xfe" + text.encode("utf-16-le")))


def delete(runner, service, name):
    folder = os.path.join(runner.call.daemon.scheduler.folder, name)
    try:
        os.rmdir(folder)
    except OSError as error:
        raise Failed(f'Exception calling "DeleteFolder" with "2" argument(s): "{error.strerror}"') from None
