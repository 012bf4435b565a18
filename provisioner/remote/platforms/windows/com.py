"""Objects of Windows that scripts use (COM, late binding), for what has neither a plain function nor a program.

    service = com.create("Schedule.Service")
    service.call("Connect")
    print(service.call("GetFolder", "\\\\").get("Path"))

Texts, whole numbers, truth values, other objects and None go in and come out. Sources: learn.microsoft.com, IDispatch,
VARIANT, EXCEPINFO; the order of the functions in their tables is that of oaidl.h. An object belongs to the thread that
made it, and is let go with its last reference; a thread's COM stays until this program ends.
"""

from __future__ import annotations

import ctypes

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.windows import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Value = Union[None, bool, int, str, "Object"]

IDISPATCH = b"\x00\x04\x02\x00" + bytes(4) + b"\xc0" + bytes(6) + b"\x46"
NO_GUID = bytes(16)
RELEASE, GET_IDS_OF_NAMES, INVOKE = 2, 5, 6
"""Where these functions stand in an object's table."""
METHOD, PROPERTY_GET, PROPERTY_PUT = 1, 2, 4
THE_VALUE = -3
"""DISPID_PROPERTYPUT, the name of what a property is to become."""
IN_THIS_OR_A_SERVICE = 1 | 4
EXCEPTION = 0x80020009
"""DISP_E_EXCEPTION: the object itself says what is wrong."""
EMPTY, NULL, I4, BSTR, DISPATCH, BOOL, I8 = 0, 1, 3, 8, 9, 11, 20
NUMBERS = {2: (2, True), I4: (4, True), 16: (1, True), 17: (1, False), 18: (2, False), 19: (4, False), I8: (8, True),
           21: (8, False), 22: (4, True), 23: (4, False)}  # fmt: skip
"""Bytes and whether there is a sign, by type of VARIANT."""


class ComError(Failure):
    """An object can't be made, or refused.

    Args:
        what: was tried.
        code: the HRESULT; 0x80070005 is the lack of a right.
        said: by the object itself, in the language of the system.
    """

    def __init__(self, what: str, code: int, said: str = "") -> None:
        told = " ".join(said.split()).rstrip(".") or calls.meaning(code)
        super().__init__("%s%s (0x%08X)" % (what, ": " + told if told else "", code))
        self.code = code


class _Union(ctypes.Union):
    _fields_ = [("number", ctypes.c_longlong), ("pointer", ctypes.c_void_p), ("pair", ctypes.c_void_p * 2)]


class _Variant(ctypes.Structure):
    _fields_ = [("type", ctypes.c_ushort), ("reserved", ctypes.c_ushort * 3), ("of", _Union)]


class _Arguments(ctypes.Structure):
    """DISPPARAMS; the last argument is the first."""

    _fields_ = [("values", ctypes.POINTER(_Variant)), ("names", ctypes.POINTER(ctypes.c_long)),
                ("count", ctypes.c_uint), ("named", ctypes.c_uint)]  # fmt: skip


class _Exception(ctypes.Structure):
    """EXCEPINFO."""

    _fields_ = [("number", ctypes.c_ushort), ("reserved", ctypes.c_ushort), ("source", ctypes.c_void_p),
                ("description", ctypes.c_void_p), ("help", ctypes.c_void_p), ("context", ctypes.c_ulong),
                ("pointer", ctypes.c_void_p), ("fill", ctypes.c_void_p), ("code", ctypes.c_int)]  # fmt: skip


def create(name: str) -> Object:
    """Make an object by the name of its class, such as ``Schedule.Service``; ComError if there is no such thing."""
    ole, clsid, pointer = calls.library("ole32"), ctypes.create_string_buffer(16), ctypes.c_void_p()
    ole.CoInitializeEx(None, 2)  # COINIT_APARTMENTTHREADED; that it was done before, in whatever way, is no matter
    code = ole.CLSIDFromProgID(ctypes.c_wchar_p(name), clsid)
    if code >= 0:
        code = ole.CoCreateInstance(clsid, None, IN_THIS_OR_A_SERVICE, IDISPATCH, ctypes.byref(pointer))
    if code < 0:
        raise ComError("there is no %s" % name, code & 0xFFFFFFFF)
    return Object(pointer.value or 0, name)


class Object:
    """An IDispatch.

    Args:
        pointer: to it; it is let go in the end.
        name: what it is called in errors.
    """

    def __init__(self, pointer: int, name: str) -> None:
        self._pointer, self._name = pointer, name

    def __del__(self) -> None:
        self._function(RELEASE)()

    def call(self, name: str, *arguments: Value) -> Value:
        """Call a method; ComError if it is refused."""
        return self._invoke(name, METHOD | PROPERTY_GET, arguments)

    def object(self, name: str, *arguments: Value) -> Object:
        """Return what a method or a property gives, which must be an object."""
        found = self.call(name, *arguments)
        if not isinstance(found, Object):
            raise Failure("%s.%s is no object" % (self._name, name))
        return found

    def get(self, name: str) -> Value:
        """Return a property; ComError if there is none."""
        return self._invoke(name, PROPERTY_GET, ())

    def set(self, name: str, value: Value) -> None:
        """Change a property; ComError if it may not be that."""
        self._invoke(name, PROPERTY_PUT, (value,))

    def _function(self, place: int, *types: Any) -> Any:
        table = ctypes.cast(self._pointer, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
        kind = vars(ctypes)["WINFUNCTYPE"](ctypes.c_int, ctypes.c_void_p, *types)
        function = kind(table[place])
        return lambda *arguments: function(self._pointer, *arguments)

    def _invoke(self, name: str, kind: int, values: Any) -> Value:
        what = "%s.%s" % (self._name, name)
        number, result, trouble = self._number(name, what), _Variant(), _Exception()
        given = (_Variant * len(values))(*(_variant(value) for value in reversed(values)))
        named = ctypes.c_long(THE_VALUE)
        puts = kind == PROPERTY_PUT
        arguments = _Arguments(given, ctypes.pointer(named) if puts else None, len(values), int(puts))
        invoke = self._function(
            INVOKE, ctypes.c_long, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ushort, ctypes.c_void_p, ctypes.c_void_p,
            ctypes.c_void_p, ctypes.c_void_p,
        )  # fmt: skip
        outcome = None if puts else ctypes.byref(result)
        code = invoke(number, NO_GUID, 0, kind, ctypes.byref(arguments), outcome, ctypes.byref(trouble), None)
        for each in given:
            if each.type == BSTR:
                _free(each.of.pointer)
        if code < 0:
            raise _error(what, code & 0xFFFFFFFF, trouble)
        return _value(result, what)

    def _number(self, name: str, what: str) -> int:
        """Return the number of a method or a property."""
        names, number = ctypes.c_wchar_p(name), ctypes.c_long()
        find = self._function(
            GET_IDS_OF_NAMES, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_ulong, ctypes.c_void_p
        )
        code = find(NO_GUID, ctypes.byref(names), 1, 0, ctypes.byref(number))
        if code < 0:
            raise ComError(what, code & 0xFFFFFFFF)
        return number.value


def _variant(value: Value) -> _Variant:
    made = _Variant()
    if isinstance(value, bool):
        made.type, made.of.number = BOOL, 0xFFFF if value else 0
    elif isinstance(value, int):
        made.type, made.of.number = I4 if -(1 << 31) <= value < 1 << 31 else I8, value
    elif isinstance(value, str):
        made.type, made.of.pointer = BSTR, _text(value)
    elif value is not None:
        made.type, made.of.pointer = DISPATCH, value._pointer
    return made


def _value(result: _Variant, what: str) -> Value:
    """Return what is in a VARIANT, which is of no use afterwards."""
    kind = result.type
    if kind in (EMPTY, NULL):
        return None
    if kind in NUMBERS:
        size, signed = NUMBERS[kind]
        return int.from_bytes(bytes(result.of)[:size], "little", signed=signed)
    if kind == BOOL:
        return bool(result.of.number & 0xFFFF)
    if kind == BSTR:
        return _taken(result.of.pointer)
    if kind == DISPATCH:
        return Object(result.of.pointer, what) if result.of.pointer else None
    calls.library("oleaut32").VariantClear(ctypes.byref(result))
    raise Failure("%s answers with something of type %d" % (what, kind))


def _error(what: str, code: int, trouble: _Exception) -> ComError:
    if trouble.fill:
        vars(ctypes)["WINFUNCTYPE"](ctypes.c_int, ctypes.c_void_p)(trouble.fill)(ctypes.byref(trouble))
    said = _taken(trouble.description)
    _free(trouble.source)
    _free(trouble.help)
    return ComError(what, trouble.code & 0xFFFFFFFF if code == EXCEPTION and trouble.code else code, said)


def _text(value: str) -> int:
    """Return a BSTR."""
    allocate = calls.library("oleaut32").SysAllocStringLen
    allocate.restype = ctypes.c_void_p
    return allocate(ctypes.c_wchar_p(value), len(value.encode("utf-16-le", "surrogatepass")) // 2) or 0


def _taken(pointer: int) -> str:
    """Return the text of a BSTR, which is freed."""
    if not pointer:
        return ""
    length = calls.library("oleaut32").SysStringLen(ctypes.c_void_p(pointer))
    text = ctypes.wstring_at(pointer, length)
    _free(pointer)
    return text


def _free(pointer: int) -> None:
    calls.library("oleaut32").SysFreeString(ctypes.c_void_p(pointer))
