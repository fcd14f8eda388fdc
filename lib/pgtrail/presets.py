"""The presets: how the tables of a well-known application are tracked, one file of ``sql/presets/`` each."""

import re
from dataclasses import dataclass
from pathlib import Path

from pgtrail.adoption import adoption_code
from pgtrail.connection import Connection
from pgtrail.errors import InvalidInput, PgtrailError
from pgtrail.project_files import project_files

FIELD = re.compile(r"^-- (For|Versions|Schema): (.*(?:\n--   +.*)*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset.

    :param purpose: what it tracks.
    :param versions: of the application, that it is tested with.
    :param schema: where the application's tables usually are.
    :param text: queries whose results are the SQL that tracks the tables which exist.
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

    :raises InvalidInput: there is no such preset.
    """
    known = {preset.name: preset for preset in all_presets()}
    if name not in known:
        raise InvalidInput(f'there is no preset "{name}"', f"there are: {', '.join(known)}")
    return known[name]


def tracking(connection: Connection, preset: Preset, schema: str) -> str:
    """The SQL that tracks what this database has of the application's tables.

    :raises PgtrailError: it has none of them.
    """
    with adoption_code(connection, "preset"):
        connection.call("set_config", "pgtrail.preset_schema", schema, True)
        cursor = connection.execute(preset.text.encode())
        statements = [text for (text,) in cursor if text is not None]
        while cursor.nextset():
            statements += [text for (text,) in cursor if text is not None]
    if not any(text.startswith("select audit.track(") for text in statements):
        raise PgtrailError(
            f"none of the tables of {preset.name} is in schema {schema}",
            f"say in which schema they are: pgtrail preset {preset.name} --schema …",
        )
    return "\n".join(statements) + "\n"


def _read(file: Path) -> Preset:
    text = file.read_text(encoding="utf-8")
    fields = {name: re.sub(r"\s*\n--\s*", " ", value) for name, value in FIELD.findall(text)}
    return Preset(file.stem, fields["For"], fields["Versions"], fields["Schema"], text)
