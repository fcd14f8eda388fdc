-- What stands round each page.
select
    -- By the rights themselves: whoever owns the log has them in none of its roles.
    has_function_privilege('audit.pause_destination(text, boolean)', 'execute') as is_admin,
    has_table_privilege('audit.destination_status', 'select') as sees_destinations,
    -- A test is signed as the worker would.
    has_function_privilege('audit.pause_destination(text, boolean)', 'execute')
        and has_table_privilege('audit.destination_secret', 'select') as can_send,
    audit.visible_orgs() = '{}' as sees_nothing,
    audit.has_nodes() as is_hub,
    current_setting('TimeZone') as zone,
    current_database() as database,
    pg_current_snapshot()::text as snapshot,
    current_date as today,
    to_char(now(), 'YYYY-MM-DD HH24:MI') as now,
    array(
        select json_build_object('name', category.name, 'label', category.label)
        from audit.category
        order by category.position, category.name
    ) as categories
