select audit.export_statement(%(wanted)s::audit.filter, %(by_field)s) as statement
