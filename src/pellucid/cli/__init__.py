"""The command line: `pellucid COMMAND …`, one file per command.

Knows how to read arguments, draw results in a terminal and word failures. Refuses to
know how anything is computed: a command calls what a Python user would call.
"""

from pellucid.cli.shell import main

__all__ = ["main"]
