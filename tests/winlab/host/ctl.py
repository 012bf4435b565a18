"""Sends one command to services.py from inside the host: ctl.py restart-sshd | shutdown | set KEY=VALUE..."""

import socket
import struct
import sys

with open("/run/stand-in/port") as file:
    link = socket.create_connection(("127.0.0.1", int(file.read())))
body = "\0".join(["ctl", *sys.argv[1:]]).encode("utf-16-le")
link.sendall(b"H" + struct.pack("<I", len(body)) + body)
stream = link.makefile("rb")
while True:
    head = stream.read(5)
    if len(head) < 5:
        sys.exit(0 if sys.argv[1] == "shutdown" else 1)
    data = stream.read(struct.unpack("<I", head[1:])[0])
    if head[:1] == b"X":
        sys.exit(struct.unpack("<I", data)[0])
    sys.stdout.write(data.decode("utf-8", "replace"))
