"""Objects of Windows (COM), as the remote program uses them: those that Wine has are real enough to show that."""

from __future__ import annotations

import json

import pytest

from provisioner.transport import program

from .fixtures import StandInFactory
from .stand_in import StandIn

PREAMBLE = r"""
import json, sys
sys.path.insert(0, r"C:\probe\program.zip")
from provisioner.remote.failure import Failure
from provisioner.remote.platforms.windows import com

def words(entries):
    made = com.create("Scripting.Dictionary")
    for key, value in entries.items():
        made.call("Add", key, value)
    return made

def refusal(act):
    try:
        return repr(act())
    except com.ComError as error:
        return [error.message, error.code]
    except Failure as failure:
        return failure.message

def folder():
    service = com.create("Schedule.Service")
    service.call("Connect")
    return service.object("GetFolder", "\\")

files = com.create("Scripting.FileSystemObject")
"""
KINDS = ["text", "", "홍길동 😀", 0, 7, -7, 1 << 31, -(1 << 40), True, False, None]
CASES = {
    "what goes in comes out": (f"(lambda d: [d.call('Item', k) for k in range({len(KINDS)})])"
                               f"(words(dict(enumerate({KINDS!r}))))", KINDS),
    "true is no number": ("words({1: True}).call('Item', 1) is True", True),
    "a property": ("words({'a': 1, 'b': 2}).get('Count')", 2),
    "a property that is changed": ("(lambda d: (d.set('CompareMode', 1), d.call('Add', 'a', 1), d.call('Exists', 'A'))"
                                   "[2])(words({}))", True),
    "names in any case": ("words({'a': 1}).get('cOuNt')", 1),
    "several arguments, in their order": (r"files.call('BuildPath', 'C:\\a', 'b')", r"C:\a\b"),
    "an object that comes back": (r"files.object('GetFolder', 'C:\\windows').get('Name').lower()", "windows"),
    "an object that is handed over": ("(lambda d: d.object('Item', 1).get('Count'))(words({1: words({2: 3})}))", 1),
    "no such class": ("refusal(lambda: com.create('No.Such'))", ["there is no No.Such (0x800401F3)", 0x800401F3]),
    "no such method": ("[refusal(lambda: files.call('Nothing'))[1], files._name]",
                       [0x80020006, "Scripting.FileSystemObject"]),
    "a method that fails": (r"refusal(lambda: files.call('GetFolder', 'C:\\nosuch'))",
                            ["Scripting.FileSystemObject.GetFolder (0x800A004C)", 0x800A004C]),
    "one that fails, in the system's words": (
        r"refusal(lambda: com.create('MSXML2.DOMDocument').call('selectNodes', '///'))",
        ["MSXML2.DOMDocument.selectNodes: 호출이 실패했습니다 (0x80004005)", 0x80004005]),
    "what the object itself says": (
        "refusal(lambda: folder().call('RegisterTask', 'x', '<x/>', 6, 'winadmin', 'wrong', 1))",
        ["Schedule.Service.GetFolder.RegisterTask: The user name or password is incorrect (0x8007052E)", 0x8007052E]),
    "too few arguments": (r"refusal(lambda: folder().call('CreateFolder'))[1]", 0x8002000E),
    "another number": (r"refusal(lambda: folder().call('DeleteFolder', 'x', 0))[1]", 0x80070002),
    "a text where an object is needed": (r"refusal(lambda: files.object('BuildPath', 'a', 'b'))",
                                         "Scripting.FileSystemObject.BuildPath is no object"),
}  # fmt: skip


@pytest.fixture(scope="module")
def host(module_stand_ins: StandInFactory) -> StandIn:
    (made,) = module_stand_ins(codepage=949)
    target = made.path(r"C:\probe")
    target.mkdir()
    (target / "program.zip").write_bytes(program.archive())
    return made


@pytest.mark.parametrize(("expression", "value"), CASES.values(), ids=CASES.keys())
def test_what_an_object_answers(host: StandIn, expression: str, value: object) -> None:
    host.write(r"C:\probe\script.py", f"{PREAMBLE}\nprint(json.dumps({expression}))\n")
    said = host.exec([host.python, "-I", "-S", r"C:\probe\script.py"], check=False, timeout=60)
    assert said.returncode == 0, said.stdout + said.stderr
    assert json.loads(said.stdout.strip().splitlines()[-1]) == value
