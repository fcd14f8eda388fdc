select
    coalesce(sum(pg_relation_size(leaf.relid)), 0)::bigint,
    coalesce(sum(pg_indexes_size(leaf.relid)), 0)::bigint,
    coalesce(sum(pg_total_relation_size(nullif(class.reltoastrelid, 0))), 0)::bigint
from unnest(%(logs)s::text[]) as log (name)
cross join lateral (
    select relid
    from pg_partition_tree(log.name)
    union
    select log.name::regclass
) as leaf
join pg_class as class on class.oid = leaf.relid
where class.relkind = 'r';
