"""What came of it, in lines of at most 80 columns."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Report:
    """Lines that are printed as they come, and how many were not as they should be."""

    wrong: int = 0

    def title(self, text: str) -> None:
        print(f"{text}:", flush=True)

    def say(self, name: str, text: str, *, holds: bool = True) -> None:
        print(f"{name:<20}{text}{'' if holds else '  WRONG'}", flush=True)
        self.wrong += not holds

    def finish(self, log: Path) -> int:
        """The exit status."""
        print(f"{self.wrong} lines are wrong; Spark's log: {log}" if self.wrong else "Nothing differs.")
        return int(self.wrong > 0)
