"""An embedded Postgres, run from the binaries of this machine."""
