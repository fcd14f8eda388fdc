"""An export on its way to a reader: whatever becomes of the reader, what it holds is given back."""

import asyncio

import pytest

from pgtrail_web.errors import DatabaseUnavailable
from pgtrail_web.export import Download


class Pieces:
    """Three pieces, and an error after them if it is given; it knows whether it was closed."""

    def __init__(self, error=None):
        self.error = error
        self.is_open = True

    async def __call__(self):
        try:
            for piece in (b"one", b"two", b"three"):
                yield piece
            if self.error:
                raise self.error
        finally:
            self.is_open = False


async def sent(pieces, take):
    """What was sent, by a reader that takes each message so."""
    messages = []

    async def send(message):
        await take(len(messages))
        messages.append(message)

    generator = pieces()
    await Download(await anext(generator), generator, stalled_seconds=0.05).stream_response(send)
    return messages


async def at_once(_):
    pass


async def not_the_third(number):
    if number == 2:
        await asyncio.Event().wait()


async def test_a_file_is_sent_whole_and_ended():
    pieces = Pieces()
    *messages, last = await sent(pieces, at_once)
    assert b"".join(message.get("body", b"") for message in messages) == b"onetwothree"
    assert last == {"type": "http.response.body", "body": b"", "more_body": False}
    assert not pieces.is_open


@pytest.mark.parametrize(("error", "take"), [(None, not_the_third), (DatabaseUnavailable(), at_once)])
async def test_a_file_that_stops_in_the_middle_is_not_ended(error, take):
    pieces = Pieces(error)
    messages = await sent(pieces, take)
    assert messages[-1].get("more_body", True)
    assert not pieces.is_open


async def test_a_reader_that_goes_is_passed_on_to_the_server():
    pieces = Pieces()

    async def gone(number):
        if number == 1:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await sent(pieces, gone)
    assert not pieces.is_open
