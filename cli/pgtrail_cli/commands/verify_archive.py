"""``pgtrail verify --archive``: no database."""

from pathlib import Path

from pgtrail.archive.checking import check_archive
from pgtrail.verify.anchor import find_anchors, find_manifests
from pgtrail_cli.streams import read_file, say
from pgtrail_cli.verify_report import Report, rewritten


def verify_archive(where: str, anchor: Path | None, jobs: int, report: Report) -> None:
    """Check the months of an archive, and compare their seals with an anchor."""
    text = "" if anchor is None else read_file(anchor)
    anchors = {} if anchor is None else find_anchors(text)
    checked = check_archive(where, jobs, find_manifests(text))
    report.add(checked.problems)
    seals, manifests = checked.evidence.seals, checked.evidence.manifests
    report.add(
        rewritten(number, anchor, anchors[number].hash)
        for number, (digest, _) in sorted(seals.items())
        if number in anchors and anchors[number].hash != digest
    )
    events = sum(month.events for month in checked.months)
    count = f"{events:,} events of {len(checked.months):,} months, under {len(seals):,} seals"
    report.fail_if_problems(count)
    say(f"{count}, hold")
    unknown = sum(month.name not in manifests for month in checked.months)
    if anchor is None:
        say("only an anchor shows that nobody rewrote the whole archive: --anchor FILE")
    elif unknown:
        say(
            f"the manifests of {unknown:,} months were not compared: "
            f"{anchor} has no event audit.partition_dropped of them"
        )
