select audit.event_id(%(called)s) as id
