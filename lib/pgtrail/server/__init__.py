"""A Postgres of its own, run from the binaries of this machine."""
