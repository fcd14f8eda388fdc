-- What can be asked for: the nodes, and then the hub itself.
select name
from audit.visible_nodes(%(look_at)s)
order by name = '-', name
