"""The Task Scheduler service of a stand-in host.

Tasks lie as UTF-16 XML in C:\\Windows\\System32\\Tasks, as on Windows. A task's program runs outside every ssh
session, with the machine's (and, unless it is SYSTEM, the user's) environment as it is in the registry at that
moment, in C:\\Windows\\system32. Settings (`StandIn.change`), the default being what real Windows is reported to do:
  end=process   /End and ExecutionTimeLimit end the action's own process only; its children live on unless they share
                its fate (schtasks reference: "stops only the instances of a program started by a scheduled task").
                end=tree ends all of them.
  restart=launch  RestartOnFailure acts when the action could not be started, not when it ends with an exit code
                ([MS-TSCH] 2.5.4.2). restart=exit also takes a non-zero exit code for a failure.
  console=0     nobody is logged on at the console, so InteractiveToken tasks do not start (result 0x800710E0).
  speed=N       the scheduler's clock runs N times faster (intervals, limits, delays), for tests."""

import datetime
import os
import subprocess
import threading
import time
import uuid

import taskxml
from common import (
    DRIVE_C,
    LAUNCH,
    RUN,
    USER_SID,
    WINE,
    base_env,
    config,
    load_json,
    look_up,
    save_json,
    win_path,
    wine_env,
    write_spec,
)

NEVER_RUN, RUNNING, TERMINATED, REFUSED = 0x41303, 0x41301, 0x41306, 0x800710E0
TREE = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tree"
SYSTEM_SIDS = {"S-1-5-18": "SYSTEM", "S-1-5-19": "LOCAL SERVICE", "S-1-5-20": "NETWORK SERVICE"}


def is_true(text, default):
    return default if text is None else text.strip() in ("true", "1")


class Task:
    def __init__(self, path, text, root):
        self.path, self.text, self.root = path, text, root
        self.settings = root.child("Settings")
        if self.settings is None:
            self.settings = taskxml.Node("Settings", {}, (1, 1))
        principals = root.child("Principals")
        self.principal = principals.children[0] if principals else taskxml.Node("Principal", {}, (1, 1))
        self.instances, self.last_run, self.last_result = [], None, NEVER_RUN

    @property
    def enabled(self):
        return is_true(self.settings.value("Enabled"), True)

    @property
    def sid(self):
        return self.principal.value("UserId") or self.principal.value("GroupId") or USER_SID

    @property
    def logon(self):
        return None if self.sid in SYSTEM_SIDS else self.principal.value("LogonType", "InteractiveToken")

    @property
    def status(self):
        return "Running" if self.instances else "Ready" if self.enabled else "Disabled"

    @property
    def time_limit(self):
        return taskxml.seconds(self.settings.value("ExecutionTimeLimit", "PT72H").strip())

    def triggers(self, *kinds):
        node = self.root.child("Triggers")
        return [t for t in (node.children if node else ()) if t.name in kinds and is_true(t.value("Enabled"), True)]


class Instance:
    """One run of a task's actions; RestartOnFailure belongs to it."""

    def __init__(self, scheduler, task):
        self.scheduler, self.task, self.process, self.ended, self.then = scheduler, task, None, False, None
        task.instances.append(self)
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        task, log = self.task, self.scheduler.log
        restart = task.settings.child("RestartOnFailure")
        left = int(restart.value("Count")) if restart else 0
        while True:
            code = 0
            for action in task.root.child("Actions").children:
                code = self.action(action) if action.name == "Exec" else 0x80040154
                if self.ended:
                    break
            task.last_result = code
            failed = code & 0xFFFF0000 == 0x80070000 or (config()["restart"] == "exit" and code != 0)
            log(f"task {task.path} ended with {code:#x}")
            if self.ended or not failed or left <= 0 or self.scheduler.closing:
                break
            left -= 1
            self.scheduler.sleep(taskxml.seconds(restart.value("Interval").strip()), self)
            if self.ended or self.scheduler.closing:
                break
            log(f"task {task.path} starts again, {left} attempts left")
        task.instances.remove(self)
        self.scheduler.save()
        if self.then:
            self.then()

    def action(self, action):
        cfg, task = config(), self.task
        system = task.sid in SYSTEM_SIDS
        result = "%s/spec/task-%s" % (RUN, os.urandom(4).hex())
        command = action.value("Command").strip().strip('"')
        arguments = action.value("Arguments", "")
        folder = (action.value("WorkingDirectory") or "").strip().strip('"') or r"C:\Windows\system32"
        records = ["E%s=%s" % x for x in base_env(cfg, system).items()] + ["M"] + ([] if system else ["U"])
        records += ["D" + folder, "R" + win_path(result), f'C"{command}"' + (" " + arguments if arguments else "")]
        spec = write_spec(records + (["T"] if cfg["end"] == "tree" else []))
        self.process = subprocess.Popen(
            [WINE, LAUNCH, "run", win_path(spec)],
            env=wine_env(cfg),
            cwd=DRIVE_C + "/windows",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        limit, begin = task.time_limit, time.monotonic()
        while self.process.poll() is None:
            time.sleep(0.05)
            if limit and not self.ended and time.monotonic() - begin > limit / (cfg["speed"] or 1):
                self.scheduler.log(f"task {task.path} reached its ExecutionTimeLimit")
                self.end()
        try:
            with open(result) as file:
                code = int(file.read())
            os.unlink(result)
        except (OSError, ValueError):
            code = TERMINATED
        os.unlink(spec)
        self.process.stdin.close()
        return TERMINATED if self.ended else code

    def end(self):
        self.ended = True
        try:
            self.process.stdin.write(b"x")
            self.process.stdin.flush()
        except (OSError, ValueError, AttributeError):
            pass


class Scheduler:
    def __init__(self, log):
        self.log, self.closing, self.tasks, self.timers, self.lock = log, False, {}, [], threading.RLock()
        self.folder = look_up(DRIVE_C, ["windows", "system32", "Tasks"])

    # --- the store --------------------------------------------------------------------------------
    def load(self):
        os.makedirs(self.folder, exist_ok=True)
        history = load_json("tasks", {})
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = "\\" + os.path.relpath(os.path.join(folder, name), self.folder).replace("/", "\\")
                with open(os.path.join(folder, name), "rb") as file:
                    data = file.read()
                try:
                    task = Task(path, taskxml.decode(data), taskxml.parse(data))
                except taskxml.TaskError as error:
                    self.log(f"{path}: {error}")
                    continue
                task.last_run, task.last_result = history.get(path, [None, NEVER_RUN])
                self.tasks[path.lower()] = task
                self.remember(path)

    def save(self):
        with self.lock:
            save_json("tasks", {t.path: [t.last_run, t.last_result] for t in self.tasks.values()})

    def file(self, path):
        return look_up(self.folder, path.strip("\\").split("\\"))

    def register(self, path, text, root):
        old = self.tasks.get(path.lower())
        task = Task(old.path if old else path, text, root)
        target = self.file(task.path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(b"\xff\xfe" + text.encode("utf-16-le"))
        if old:  # a running instance of the old definition goes on, and still counts as this task's
            task.instances, task.last_run, task.last_result = old.instances, old.last_run, old.last_result
        with self.lock:
            self.tasks[path.lower()] = task
            self.timers = [t for t in self.timers if t[1] != task.path.lower()]
        self.remember(task.path)
        self.arm(task, "RegistrationTrigger", "TimeTrigger")
        self.save()
        return task

    def remember(self, path):
        """Have the registry know the task, as the service does; the folders above it, too."""
        number = str(uuid.uuid5(uuid.NAMESPACE_OID, path.lower())).upper()
        self.reg("add", TREE + path, "/v", "Id", "/d", "{%s}" % number, "/f")

    def forget(self, path):
        self.reg("delete", TREE + path, "/f")

    def reg(self, *words):
        subprocess.call(
            [WINE, "reg", *words],
            env=wine_env(config()),
            cwd=DRIVE_C,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def delete(self, task):
        with self.lock:
            del self.tasks[task.path.lower()]
            self.timers = [t for t in self.timers if t[1] != task.path.lower()]
        os.unlink(self.file(task.path))
        self.forget(task.path)
        self.save()

    # --- running ----------------------------------------------------------------------------------
    def start(self, task, why):
        """Returns False when the task's own conditions forbid it (whoever says /Run is told SUCCESS all the same)."""
        with self.lock:
            if task.logon in ("InteractiveToken", "InteractiveTokenOrPassword") and not config()["console"]:
                self.log(f"task {task.path}: not started, nobody is logged on interactively")
                task.last_result = REFUSED
                return False
            policy = task.settings.value("MultipleInstancesPolicy", "IgnoreNew").strip()
            if task.instances and policy == "IgnoreNew":
                self.log(f"task {task.path}: an instance runs already")
                return False
            if task.instances and policy in ("Queue", "StopExisting"):
                task.instances[-1].then = lambda: self.start(task, why)
                if policy == "StopExisting":
                    self.end(task)
                return True
            self.log(f"task {task.path} starts ({why})")
            task.last_run, task.last_result = datetime.datetime.now().isoformat(timespec="seconds"), RUNNING
            Instance(self, task)
            self.save()
            return True

    def end(self, task):
        for instance in list(task.instances):
            instance.end()
        for _ in range(100):
            if not task.instances:
                return
            time.sleep(0.05)

    # --- triggers ---------------------------------------------------------------------------------
    def sleep(self, duration, instance=None):
        end = time.monotonic() + duration / (config()["speed"] or 1)
        while time.monotonic() < end and not self.closing and not (instance and instance.ended):
            time.sleep(0.1)

    def arm(self, task, *kinds):
        """Puts the triggers of these kinds on the clock: (seconds from now, task, interval or None, until or None)."""
        speed = config()["speed"] or 1
        for trigger in task.triggers(*kinds) if task.enabled else ():
            wait = taskxml.seconds(trigger.value("Delay", "PT0S").strip()) / speed
            start = trigger.value("StartBoundary")
            if start and trigger.name == "TimeTrigger":
                moment = datetime.datetime.fromisoformat(start.strip().replace("Z", "+00:00"))
                wait = (moment - datetime.datetime.now(moment.tzinfo)).total_seconds() / speed
            repetition = trigger.child("Repetition")
            every = taskxml.seconds(repetition.value("Interval").strip()) / speed if repetition else None
            until = repetition.value("Duration") if repetition else None
            if wait < 0:  # a time in the past starts nothing, except that its repetition goes on
                if not every:
                    continue
                wait %= every
            now = time.monotonic()
            end = now + wait + taskxml.seconds(until.strip()) / speed if until else None
            with self.lock:
                self.timers.append([now + wait, task.path.lower(), every, end, trigger.name])

    def boot(self):
        for task in list(self.tasks.values()):
            self.arm(task, "BootTrigger", "TimeTrigger")

    def loop(self):
        while True:
            time.sleep(0.1)
            now, due = time.monotonic(), []
            with self.lock:
                for timer in list(self.timers):
                    if timer[0] <= now:
                        due.append(timer)
                        if timer[2] and (timer[3] is None or timer[0] + timer[2] < timer[3]):
                            timer[0] += timer[2]
                        else:
                            self.timers.remove(timer)
            for timer in due:
                task = self.tasks.get(timer[1])
                if task and task.enabled and not self.closing:
                    self.start(task, timer[4])
