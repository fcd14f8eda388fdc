-- What can be asked for. (Of one organization only what it could have: the rest is not its business.)
select distinct action
from audit.kinds()
where audit.visible_orgs() is null
order by action
