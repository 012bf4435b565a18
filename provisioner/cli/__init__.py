"""The command line: flags and exit codes, no logic. Everything heavy is imported by the command that needs it."""

from provisioner.cli.main import main

__all__ = ["main"]
