"""An audited write does not become dearer unnoticed."""

import shutil

import pytest
from tests.conftest import required, roomy_folder

from auditors import AUDITORS
from writing import counting
from writing.ground import prepared
from writing.works import DELETE, IGNORED, INSERT, UPDATE

REACHED = {
    15: {UPDATE: 1.88, INSERT: 1.72, DELETE: 2.30, IGNORED: 0.64},
    18: {UPDATE: 1.92, INSERT: 1.74, DELETE: 2.34, IGNORED: 0.63},
}
"""What an audited write was seen to take, in instructions of the floor, when it was last made cheaper."""
TOLERANCE = 1.03


@pytest.fixture(scope="module")
def counted(binaries):
    """Instructions of an auditor's transaction, by a script."""
    if shutil.which("valgrind") is None:
        required("Valgrind counts the instructions, and is not installed")
    auditors = [AUDITORS[name] for name in ("floor", "pgtrail")]
    with roomy_folder() as folder, prepared(auditors, counting.ROWS, str(folder), binaries) as ground:
        for auditor in auditors:
            ground.reset(auditor, "api_key", counting.ROWS)
        ground.server.stop()
        yield lambda script, name: counting.count(binaries, ground.server.data_dir, AUDITORS[name], script)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", [UPDATE, INSERT, DELETE, IGNORED], ids=lambda script: script.operation)
def test_an_audited_write_takes_no_more_instructions_than_it_did(counted, binaries, script):
    ratio = counted(script, "pgtrail") / counted(script, "floor")
    assert ratio <= REACHED[binaries.major if binaries.major in REACHED else 18][script] * TOLERANCE
