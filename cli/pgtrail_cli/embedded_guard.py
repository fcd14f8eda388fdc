"""Run by itself: waits for its parent to end, then stops the server whose process id it was given.

Its parent keeps the other end of stdin, and closes it after a clean stop; a killed parent's is closed by the system.
"""

import os
import signal
import sys
import time

PATIENCE_SECONDS = 30.0


def main() -> None:
    """End the server: fast, and if that takes too long, immediately."""
    server = int(sys.argv[1])
    sys.stdin.buffer.read()
    try:
        os.kill(server, signal.SIGINT)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.1)
            os.kill(server, 0)
        os.kill(server, signal.SIGQUIT)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    main()
