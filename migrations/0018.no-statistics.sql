-- depends: 0017.destinations

-- Readers see rows of these tables by row-level security, which does not stand before statistics: EXPLAIN tells of any value
-- that they hold. From now on none are gathered (audit.keep_out_of_statistics()), and what was gathered goes here, if a
-- superuser migrates. (The lock keeps ANALYZE away until then.)
do $$
begin
    if (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
        lock table audit.event, audit.org_grant in share update exclusive mode;
        delete from pg_catalog.pg_statistic
        where starelid in (select relid from pg_catalog.pg_partition_tree('audit.event'))
            or starelid = 'audit.org_grant'::pg_catalog.regclass;
    end if;
end
$$;
