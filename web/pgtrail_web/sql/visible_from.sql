-- Whether what is asked for reaches further back than what is there for this viewer to see.
select to_char(moment, 'YYYY-MM-DD HH24:MI') as moment, reason
from audit.visible_from(%(wanted)s::audit.filter)
