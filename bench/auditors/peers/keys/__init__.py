"""An application of Django: the tables that are audited."""
