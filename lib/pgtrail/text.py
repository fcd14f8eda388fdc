"""Text from a database, as it may be shown."""


def printable(text: str) -> str:
    """The text with its control characters escaped: what a database holds must not steer who reads it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
