"""What an erasure leaves of a field. Pure: no I/O."""

import json
import re

_PSEUDONYM = re.compile(r"erased-[0-9a-f]{16}")


def is_pseudonym(text: str, part: str) -> bool:
    """Whether a field is what any erasure leaves."""
    return any(is_erased(text, part, pseudonym) for pseudonym in set(_PSEUDONYM.findall(text)))


def is_erased(text: str, part: str, pseudonym: str) -> bool:
    """Whether a field is what an erasure leaves: its pseudonym, or a value with that inside.

    :param text: of the field, as it is committed to.
    """
    quoted = json.dumps(pseudonym)
    if part == "actor":
        who, label, address, agent = json.loads(text)
        return who == pseudonym and label in (None, pseudonym) and address is None and agent is None
    if part == "label":
        return text == quoted
    value = text[len(json.dumps(part.split(".", 1)[1], ensure_ascii=False)) + len(": ") :]
    return value == quoted or (value[:1] in "{[" and quoted[:-1] in value)
