select audit.redrive_dead_letters(%(name)s, %(reason)s)
