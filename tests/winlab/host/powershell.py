"""powershell.exe of Windows PowerShell 5.1, as far as it can be had without PowerShell: it reads the command line as
5.1 does, checks the syntax (tree-sitter-powershell), refuses what only PowerShell 7 knows (&& || ?? ??= ?. ternary
-Parallel), and then runs only these statements itself; with anything else it does nothing and ends with "stand-in:
this PowerShell is not simulated", exit code 1:
    & 'C:\\path\\x.exe' arg 'arg 2' "arg $env:X"     x.exe arg ...       (as 5.1 passes them: spaces get quotes,
                                                                          quotes inside are NOT escaped)
    exit, exit N, exit $LASTEXITCODE                 $env:X = '...'      $name = '...'
    'text'  "text $env:X"  $env:X  $LASTEXITCODE     Write-Output/Write-Host/echo TEXT
    $PSVersionTable.PSVersion.Major | .ToString()    Restart-Service sshd
    [Console]::OutputEncoding = [Text.Encoding]::UTF8    Add-Content C:\\path 'text' -Encoding ascii
Exit codes as in about_PowerShell_exe: exit N gives N; else -Command and -EncodedCommand give 0, or 1 when the last
program failed; -File gives 0. -File needs -ExecutionPolicy Bypass (or another permissive one): the default policy
of Windows clients is Restricted. A script file without BOM is read in the ANSI code page."""

import base64
import re

import tree_sitter
import tree_sitter_powershell
from common import unix_path

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
SWITCHES = ["noprofile", "nologo", "noninteractive", "noexit", "sta", "mta"]
VALUES = [
    "executionpolicy",
    "inputformat",
    "outputformat",
    "windowstyle",
    "version",
    "psconsolefile",
    "configurationname",
    "encodedcommand",
    "ec",
    "ep",
    "ex",
]
SEVEN = {"&&", "||", "??", "??=", "?.", "?[", "ternary_expression"}
PROGRAM = re.compile(
    r"""(?:(?:(?:[A-Za-z]:|[\w.-]+)\\[^\s'"]*|[\w.-]+)\.(exe|cmd|bat)|schtasks|netsh|setx|icacls|whoami|tar|taskkill|reg|py|python3?)(\s|$)""",
    re.I,
)
WORD = re.compile(r"""\s*(?:'((?:[^']|'')*)'|"((?:[^"`]|`.|"")*)"|([^\s'"|;&<>()`]+(?:(?<=[=:])'(?:[^']|'')*')?))""")


NOT_FOUND = """\
{name} : The term '{name}' is not recognized as the name of a cmdlet, function, script file, or operable program. Check
the spelling of the name, or if a path was included, verify that the path is correct and try again.
At line:1 char:1
+ {line}
+ {below}
    + CategoryInfo          : ObjectNotFound: ({name}:String) [], CommandNotFoundException
    + FullyQualifiedErrorId : CommandNotFoundException

"""


class NotSimulated(Exception):
    pass


class SyntaxRefused(Exception):
    pass


class Exit(Exception):
    pass


def command_line(call):
    """-> (kind, text): kind is command or file."""
    args, policy = list(call.args), "restricted"
    while args:
        arg = args.pop(0)
        name = arg[1:].lower() if arg[:1] in "-/" and len(arg) > 1 else None
        if name is None:
            return "command", " ".join([arg, *args]), policy
        if name in ("c",) or ("command".startswith(name) and len(name) > 1):
            text = " ".join(args)
            if text == "-":
                return "command", call.stdin().decode(call.encoding, "replace"), policy
            return "command", text, policy
        if "file".startswith(name):
            if not args:
                raise SyntaxRefused("The argument to the -File parameter does not exist.")
            return "file", args, policy
        if name in ("e", "ec") or ("encodedcommand".startswith(name) and name[:2] == "en"):
            try:
                return "command", base64.b64decode(args.pop(0), validate=True).decode("utf-16-le"), policy
            except (IndexError, ValueError):
                raise SyntaxRefused(
                    "Cannot process the command because the value specified with -EncodedCommand is not properly "
                    "encoded. "
                    "The value must be Base64 encoded."
                ) from None
        hit = [s for s in SWITCHES if s.startswith(name) and len(name) > 2]
        values = [v for v in VALUES if v.startswith(name)]
        if hit:
            continue
        if values and args:
            value = args.pop(0)
            if values[0] in ("executionpolicy", "ep", "ex"):
                policy = value.lower()
            continue
        raise SyntaxRefused(
            f"The argument '{arg}' is not recognized as the name of a parameter, or its value is missing."
        )
    return "command", "", policy


def check(text):
    """Syntax errors of 5.1; returns the top-level statements' texts."""
    data = text.encode()
    root = PARSER.parse(data).root_node

    def at(node, message):
        line, column = node.start_point
        shown = text.splitlines()[line] if line < len(text.splitlines()) else ""
        raise SyntaxRefused(
            f"At line:{line + 1} char:{column + 1}\n+ {shown}\n+ {' ' * column}~\n{message}\n"
            "    + CategoryInfo          : ParserError: (:) [], ParentContainsErrorRecordException\n"
        )

    def walk(node):
        if node.type in SEVEN or (
            node.type == "command_parameter" and data[node.start_byte : node.end_byte].lower() == b"-parallel"
        ):
            at(
                node,
                f"The token '{data[node.start_byte : node.end_byte].decode()}' is not a valid statement "
                f"separator in this version.",
            )
        if node.type == "ERROR" or node.is_missing:
            at(node, "Unexpected token or missing terminator.")
        for child in node.children:
            walk(child)

    walk(root)
    found = []

    def statements(node):
        for child in node.children:
            if child.type in ("statement_list", "script_block_body", "script_block"):
                statements(child)
            elif child.type not in (";", "comment", "empty_statement"):
                found.append(data[child.start_byte : child.end_byte].decode().strip().rstrip(";").strip())

    statements(root)
    return [s for s in found if s]


class Runner:
    def __init__(self, call):
        self.call, self.variables, self.last, self.ok = call, {"true": "True", "false": "False", "null": ""}, None, True
        self.encoding = call.encoding

    def expand(self, text):
        """A double-quoted string: $env:X, $name, ${name}, `escapes; a $( is not simulated."""
        if "$(" in text:
            raise NotSimulated(text)
        special = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}

        def one(m):
            if m[1]:
                return special.get(m[1], m[1])
            if m[2]:
                return self.call.env.get(m[2].upper(), "")
            if m[3] or m[4]:
                name = (m[3] or m[4]).lower()
                if name == "lastexitcode":
                    return "" if self.last is None else str(self.last)
                return self.variables.get(name, "")
            return '"'

        return re.sub(r'`(.)|\$env:(\w+)|\$(\w+)|\$\{(\w+)\}|""', one, text, flags=re.I | re.S)

    def words(self, text):
        out, at = [], 0
        while at < len(text.rstrip()):
            m = WORD.match(text, at)
            if not m or (m[1] is None and m[2] is None and (m[3][:1] in "@{}" or m[3] in ("-", "--%"))):
                raise NotSimulated(text)
            out.append(
                m[1].replace("''", "'")
                if m[1] is not None
                else self.expand(m[2])
                if m[2] is not None
                else self.expand(m[3])
            )
            at = m.end()
        return out

    def plan(self, text):
        """One statement -> a function that does it."""
        m = re.fullmatch(r"\$env:(\w+)\s*=\s*(.+)", text, re.I | re.S)
        if m:
            value = self.single(m[2])
            return lambda: self.call.set_env(m[1], value())
        m = re.fullmatch(r"\$(\w+)\s*=\s*(.+)", text, re.S)
        if m:
            value = (
                self.single(m[2])
                if not re.fullmatch(r"\d+|\$true|\$false|\$null", m[2], re.I)
                else (lambda: m[2].lstrip("$"))
            )
            return lambda: self.variables.__setitem__(m[1].lower(), value())
        m = re.fullmatch(r"exit(?:\s+(-?\d+|\$LASTEXITCODE))?", text, re.I)
        if m:

            def leave():
                raise Exit(self.last or 0 if (m[1] or "")[:1] == "$" else int(m[1] or 0))

            return leave
        if re.fullmatch(
            r"\[(System\.)?Console\]::OutputEncoding\s*=\s*(\$OutputEncoding\s*=\s*)?\[(System\.)?Text\.Encoding\]::UTF8",
            text,
            re.I,
        ):
            return lambda: setattr(self, "encoding", "utf-8")
        m = re.fullmatch(r"\$PSVersionTable\.PSVersion(\.Major|\.ToString\(\))", text, re.I)
        if m:
            return lambda: self.print("5" if m[1] == ".Major" else "5.1.19041.5247")
        m = re.fullmatch(r'Restart-Service\s+(?:-Name\s+)?[\'"]?sshd[\'"]?(\s+-Force)?', text, re.I)
        if m:
            return lambda: self.call.daemon.start_sshd()
        m = re.fullmatch(r"Add-Content\s+([A-Z]:\\[^\s'\"$]+)\s+('(?:[^']|'')*')\s+-Encoding\s+ascii", text, re.I)
        if m:
            return lambda: self.add_content(unix_path(m[1]), self.words(m[2])[0])
        m = re.match(r"(Write-Output|Write-Host|echo)\s+(.+)", text, re.I | re.S)
        if m:
            self.words(m[2])
            return lambda: [self.print(w) for w in self.words(m[2])]
        if re.fullmatch(r"'(?:[^']|'')*'|\"(?:[^\"`]|`.|\"\")*\"|\$env:\w+|\$\w+", text, re.S):
            value = self.single(text)
            return lambda: self.print(value())
        m = re.match(r"&\s*(.+)", text, re.S)
        if m or PROGRAM.match(text):
            line = m[1] if m else text
            if not self.words(line):
                raise NotSimulated(text)
            return lambda: self.native(self.words(line))
        raise NotSimulated(text)

    def single(self, text):
        if re.fullmatch(r"\$env:\w+|\$\w+", text.strip(), re.I):
            return lambda: self.expand(text.strip())
        if len(self.words(text)) != 1 or text.strip()[:1] not in "'\"":
            raise NotSimulated(text)
        return lambda: self.words(text)[0]

    def add_content(self, path, text):
        with open(path, "ab") as file:
            file.write(text.encode("ascii", "replace") + b"\r\n")

    def print(self, text):
        self.call.raw((text + "\r\n").replace("\r\r", "\r").encode(self.encoding, "replace"))

    def native(self, words):
        line = " ".join('"%s"' % w if w == "" or (re.search(r"\s", w) and not w.startswith('"')) else w for w in words)
        code = self.call.run(line)
        self.last = code - (1 << 32) if code >= 1 << 31 else code
        self.ok = code == 0
        if code == 9009 and not self.finds(words[0]):
            self.call.err(NOT_FOUND.format(name=words[0], line=line, below="~" * len(words[0])))

    def finds(self, name):
        """Whether there is such a program, in the current folder or on PATH."""
        folders = [""] if "\\" in name else ["", *self.call.env.get("PATH", "").split(";")]
        places = [folder.rstrip("\\") + "\\" + name if folder else name for folder in folders]
        return any(unix_path(place + end, self.call.cwd) for place in places for end in ("", ".exe"))


def main(call):
    try:
        kind, text, policy = command_line(call)
        if kind == "file":
            if policy in ("restricted", "default", "allsigned"):
                raise SyntaxRefused(
                    f"File {text[0]} cannot be loaded because running scripts is disabled on this system. "
                    "For more information, see about_Execution_Policies."
                )
            path = unix_path(text[0], call.cwd)
            try:
                with open(path or "", "rb") as file:
                    data = file.read()
            except OSError:
                raise SyntaxRefused(
                    f"The argument '{text[0]}' to the -File parameter does not exist. Provide the path to an "
                    f"existing '.ps1' file "
                    "as an argument to the -File parameter."
                ) from None
            if len(text) > 1:
                raise NotSimulated("-File with arguments")
            for bom, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le")):
                if data.startswith(bom):
                    text = data[len(bom) :].decode(name)
                    break
            else:
                text = data.decode("cp949" if call.korean else "cp1252", "replace")
        runner = Runner(call)
        steps = [runner.plan(s) for s in check(text.replace("\r\n", "\n"))]
    except SyntaxRefused as error:
        call.err(f"{error}\n")
        return 1
    except NotSimulated as error:
        call.err(f"stand-in: this PowerShell is not simulated: {error}\n")
        return 1
    try:
        for step in steps:
            runner.ok = True
            step()
    except Exit as error:
        return error.args[0]
    except NotSimulated as error:
        call.err(f"stand-in: this PowerShell is not simulated: {error}\n")
        return 1
    return 0 if runner.ok or kind == "file" else 1
