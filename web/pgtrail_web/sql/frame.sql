-- What stands round each page.
select
    pg_has_role('audit_admin', 'usage') as is_admin,
    pg_has_role('audit_auditor', 'usage') or pg_has_role('audit_admin', 'usage') as sees_destinations,
    -- A test is signed as the worker would.
    pg_has_role('audit_admin', 'usage') and pg_has_role('audit_forwarder', 'usage') as can_send,
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
