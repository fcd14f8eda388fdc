"""The presets: how the tables of a well-known application are tracked, one file of ``sql/presets/`` each."""

import re
from dataclasses import dataclass
from pathlib import Path

from pgtrail_cli.errors import NotUnderstood
from pgtrail_cli.project_files import project_files

FIELD = re.compile(r"^-- (For|Versions|Schema): (.*(?:\n--   +.*)*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset.

    :param purpose: what it tracks.
    :param versions: of the application, that it is tested with.
    :param schema: where the application's tables usually are.
    :param text: its SQL, which looks for them by the search_path.
    """

    name: str
    purpose: str
    versions: str
    schema: str
    text: str


def all_presets() -> list[Preset]:
    """Every preset there is, by name."""
    return [_read(file) for file in sorted((project_files("sql") / "presets").glob("*.sql"))]


def preset_named(name: str) -> Preset:
    """The preset of that name.

    :raises NotUnderstood: there is none.
    """
    known = {preset.name: preset for preset in all_presets()}
    if name not in known:
        raise NotUnderstood(f'there is no preset "{name}"', f"there are: {', '.join(known)}")
    return known[name]


def _read(file: Path) -> Preset:
    text = file.read_text(encoding="utf-8")
    fields = {name: re.sub(r"\s*\n--\s*", " ", value) for name, value in FIELD.findall(text)}
    return Preset(file.stem, fields["For"], fields["Versions"], fields["Schema"], text)
