"""No statement lies about that nothing runs."""

from importlib.resources import files
from pathlib import Path

import pytest

from pgtrail.queries import load


@pytest.mark.parametrize("package", ["pgtrail_cli", "pgtrail.uninstall", "pgtrail_web", "pgtrail_worker"])
def test_every_statement_by_name_is_run(package: str) -> None:
    sources = "".join(file.read_text() for file in Path(str(files(package))).rglob("*.py"))
    assert {name for name in load(package) if f'"{name}"' not in sources} == set()
