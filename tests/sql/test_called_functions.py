"""SQL functions that Python calls by name."""

import re

import pytest
from tests.documents import PROJECT


@pytest.mark.any_server
def test_every_function_that_python_calls_exists(db):
    sources = [file.read_text() for folder in ("lib", "cli") for file in (PROJECT / folder).rglob("*.py")]
    called = {name for source in sources for name in re.findall(r'\.call\(\s*"([\w.]+)"', source)}
    assert "audit.untrack" in called
    existing = db.connect().execute(
        "select format('%s.%s', pronamespace::regnamespace, proname) from pg_proc union select proname from pg_proc"
    )
    assert called - {name for (name,) in existing} == set()
