"""What the command line, the worker and the page share, and the engines below the commands."""
