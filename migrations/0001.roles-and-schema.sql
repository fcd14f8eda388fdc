-- The roles that everything else is granted to, and the schema that holds the log.
-- Roles belong to the whole cluster: another database of it may have made them already,
-- or be making them at this very moment.
do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'audit_owner', 'audit_admin', 'audit_auditor', 'audit_reader', 'audit_forwarder'
    ]
    loop
        begin
            execute format('create role %I nologin', role_name);
        exception
            when duplicate_object or unique_violation then
                null;
        end;
    end loop;

    -- Whoever migrates without being a superuser must be able to create what audit_owner owns.
    if not pg_has_role(current_user, 'audit_owner', 'member') then
        execute format('grant audit_owner to %I', current_user);
    end if;
end
$$;

create schema if not exists audit authorization audit_owner;

comment on schema audit is
    'pgtrail: the audit log of this database. Read audit.log; configure with audit.track() and audit.rule().';
