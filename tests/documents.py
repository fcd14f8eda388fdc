"""What the documents show, to be run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).parents[1]


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def fences(document):
    """Each block of the document in order: its language, its text, and the block of text right below it, if any."""
    return re.findall(
        r"^```(?!text)(\w+)\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", document.read_text(), re.MULTILINE | re.DOTALL
    )


def psql(server, dsn, script):
    """What psql prints, without notices and without spaces at the ends of lines."""
    done = subprocess.run(
        [server.binaries.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", dsn],
        input=script, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def python_of(document, name=None):
    """The document's only Python block as a module, which can be imported by that name, if it has one."""
    (source,) = blocks(document, "python")
    module = ModuleType(name or document.stem)
    if name:
        sys.modules[name] = module
    exec(compile(source, str(document), "exec"), module.__dict__)  # noqa: S102
    return module
