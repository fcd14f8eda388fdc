select audit.record_export(jsonb_strip_nulls(to_jsonb(%(wanted)s::audit.filter)), %(events)s)
