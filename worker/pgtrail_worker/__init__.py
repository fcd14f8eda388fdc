"""The forwarder: fetch a batch, POST it, settle it.

Pure modules decide, with no I/O: ``send_queue`` what is sent next, ``judge`` what a response means, ``retry`` when to
try again. ``database``, ``listener`` and ``http`` do the I/O. ``delivery`` serves one destination, ``worker`` all.
"""
