"""Throw-away hosts on this machine: an SSH server of our own on loopback, one home folder per host."""

from provisioner.sandbox.sandbox import Sandbox, SandboxHost

__all__ = ["Sandbox", "SandboxHost"]
