"""What a benchmark measured, kept as JSON beside it: what the documents' tables and charts are drawn from."""

import json
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """What one variant did at one work, round by round.

    :param work: what was done: `update, 8 clients`.
    :param variant: who did it: `unaudited`, `floor`, `pgtrail`, a peer's name.
    :param unit: of the values: `transactions/s`, `rows/s`, `bytes`, `ms`.
    :param values: one of each round, the rounds interleaved with those of the other variants.
    """

    work: str
    variant: str
    unit: str
    values: list[float]


def machine() -> dict[str, Any]:
    """The machine and the versions that figures are of."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": cpu[1] if cpu else platform.processor(),
        "processors": os.cpu_count(),
        "memory_gb": round(int(memory[1]) / 1e6) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "pgtrail": version("pgtrail"),
    }


def save(name: str, figures: Iterable[Figure], **facts: Any) -> None:
    """Keep the figures of a benchmark in bench/results/NAME.json, in place of those of its last run."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "taken_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine(),
        "facts": facts,
        "figures": "@",
    }
    # A line a figure.
    lines = ",\n  ".join(json.dumps(asdict(figure)) for figure in figures)
    text = json.dumps(document, indent=1).replace('"@"', f"[\n  {lines}\n ]")
    (RESULTS / f"{name}.json").write_text(text + "\n")


def load(name: str) -> tuple[dict[str, Any], list[Figure]]:
    """The facts (with the machine and the time) and the figures of a benchmark's last run."""
    document = json.loads((RESULTS / f"{name}.json").read_text())
    facts = {**document["facts"], "machine": document["machine"], "taken_at": document["taken_at"]}
    return facts, [Figure(**figure) for figure in document["figures"]]
