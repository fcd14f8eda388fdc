"""The forwarder: ``audit_internal.next_batch()`` → POST → ``audit_internal.settle()``.

The pure parts (``signature``, ``retry``, ``verdict``) decide and import no I/O; the edges (``database``,
``listener``, ``http``) move bytes and decide nothing; ``delivery`` serves one destination with them, and
``worker`` serves all.
"""
