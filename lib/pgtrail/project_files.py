"""The files that are installed in a database: in the wheel, else (an editable install) in the repository."""

from functools import cache
from pathlib import Path


@cache
def project_files(name: str) -> Path:
    """The folder ``sql`` or ``migrations``."""
    packaged = Path(__file__).parent / "_data" / name
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / name


@cache
def sql_files() -> tuple[Path, ...]:
    """The files of ``sql/`` that are installed, in the order in which they are run."""
    folder = project_files("sql")
    lines = (folder / "load_order.txt").read_text(encoding="utf-8").splitlines()
    return tuple(folder / line for line in lines if not line.startswith("#"))
