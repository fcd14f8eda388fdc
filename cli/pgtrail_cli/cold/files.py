"""An archive, or one file of it, checked by its name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pgtrail_cli.cold.checking import Chain, Problem, check_chain, check_month
from pgtrail_cli.cold.manifest import EVENTS, SUFFIX, File, Manifest
from pgtrail_cli.cold.place import S3, Place, place
from pgtrail_cli.cold.reading import manifests_of, read_manifest
from pgtrail_cli.errors import PgtrailError


@dataclass(frozen=True, slots=True)
class Checked:
    """What is checked, and what was found.

    :param chain: the seals, by number; complete once the problems have been gone through.
    """

    events: int
    months: int
    chain: Chain
    problems: Iterator[Problem]


def check_place(where: str, jobs: int) -> Checked:
    """All months of a place, and the chain over them."""
    found = place(where)
    months = manifests_of(found, where)
    chain: Chain = {}

    def problems() -> Iterator[Problem]:
        for month in months:
            yield from _check(found, month, jobs, chain)
        yield from check_chain(chain)

    return Checked(sum(month.events for month in months), len(months), chain, problems())


def is_cold(file: str) -> bool:
    """Whether a file is one of a place, by its name: of events, or a manifest."""
    return file.endswith(SUFFIX) or file.startswith(S3) or Path(file).absolute().parent.name.startswith("part=")


def check_file(file: str, jobs: int) -> Checked:
    """One file of events, by the seals beside it; of a manifest, its month.

    :raises PgtrailError: there is no manifest, or the file is not in it.
    """
    path = file if file.startswith(S3) else str(Path(file).absolute())
    *above, name = path.split("/")
    stem = name.removesuffix(SUFFIX).removesuffix(".parquet")
    part = None if name.endswith(SUFFIX) else above.pop()
    month_folder = above.pop()
    found = place("/".join(above))
    month = read_manifest(found, f"{month_folder}/{stem}{SUFFIX}")
    only = None if part is None else _known(month, f"{part}/{name}")
    chain: Chain = {}

    def problems() -> Iterator[Problem]:
        yield from _check(found, month, jobs, chain, only)
        yield from check_chain(chain)

    return Checked(month.events if only is None else only.rows, 1, chain, problems())


def _known(month: Manifest, name: str) -> File:
    for file in month.of_kind(EVENTS):
        if file.name == name:
            return file
    raise PgtrailError(f"{name} is not in {month.name}", "name a file of events as it is called in its archive")


def _check(found: Place, month: Manifest, jobs: int, chain: Chain, only: File | None = None) -> Iterator[Problem]:
    with TemporaryDirectory(prefix="pgtrail-") as folder:
        yield from check_month(found, month, Path(folder), jobs=jobs, chain=chain, only=only)
