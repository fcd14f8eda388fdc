select audit.export_statement(%(wanted)s::audit.filter) as statement
