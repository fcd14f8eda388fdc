"""The command line: the views of ``audit`` in a terminal, and what an operator does."""
