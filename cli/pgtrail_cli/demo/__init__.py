"""The demo: a gateway's organization at work, audited, forwarded and shown."""
