select audit.pause_destination(%(name)s, %(paused)s)
