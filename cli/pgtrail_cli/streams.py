"""Output for any terminal, and input files in any Unicode encoding."""

import codecs
import io
import json
import sys
from pathlib import Path

import click

from pgtrail.text import printable

ESCAPED = "pgtrail.escaped"


def say(text: str) -> None:
    """Write a line to stderr, for people; stdout is for what programs read."""
    click.echo(printable(f"pgtrail: {text}"), err=True)


def write_anything() -> None:
    r"""Make stdout and stderr escape what their encoding lacks as JSON does: \u00e9, a pair beyond \uffff."""
    codecs.register_error(ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def read_text(content: bytes) -> str:
    """JSON as text, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark; the rest is replaced."""
    return content.decode(json.detect_encoding(content), errors="replace")


def read_file(file: Path) -> str:
    """The same, of a file."""
    return read_text(file.read_bytes())
