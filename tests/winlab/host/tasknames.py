"""What schtasks.exe's verbs share: refusals, texts in two languages, names of accounts and of tasks."""

import re

from common import USER_SID
from scheduler import SYSTEM_SIDS

ENDED = 'SUCCESS: The scheduled task "%s" has been terminated successfully.'
KOREAN = {
    'SUCCESS: The scheduled task "%s" has successfully been created.': '성공: 예약된 작업 "%s"을(를) 만들었습니다.',
    'SUCCESS: Attempted to run the scheduled task "%s".': '성공: 예약된 작업 "%s"을(를) 실행하려고 했습니다.',
    ENDED: '성공: 예약된 작업 "%s"이(가) 종료되었습니다.',
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
