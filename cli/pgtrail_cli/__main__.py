"""``python -m pgtrail_cli`` is ``pgtrail``."""

from pgtrail_cli.main import main

if __name__ == "__main__":
    main(prog_name="pgtrail")
