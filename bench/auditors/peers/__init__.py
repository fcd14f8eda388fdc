"""Auditors that are other people's packages: installed in a virtual environment of their own, in build/peers.

The scripts of this folder run in there. They have the package generate its SQL and run it; none of it is kept here.
"""

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER / "requirements.txt"
ENVIRONMENT = FOLDER.parents[2] / "build" / "peers"


def run_in_peers(script: str, *arguments: str) -> None:
    """Run a script of this folder in the peers' environment, which is made first if need be."""
    python = _environment()
    subprocess.run([python, FOLDER / script, *arguments], check=True, stdout=subprocess.DEVNULL)


def versions() -> dict[str, str]:
    """Which version of each package is pinned."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    return dict(line.split("==", 1) for line in lines)


def _environment() -> Path:
    """Its Python; made anew when the requirements are others than it was made for."""
    stamp = ENVIRONMENT / "requirements.txt"
    python = ENVIRONMENT / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS], check=True)
        shutil.copyfile(REQUIREMENTS, stamp)
    return python
