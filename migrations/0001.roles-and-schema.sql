-- The roles that everything is granted to, and the two schemas: audit has what people use, audit_internal the rest.
-- Roles belong to the whole cluster: another database may have created them already, or be creating them right now.
do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'audit_owner', 'audit_admin', 'audit_auditor', 'audit_reader', 'audit_org_reader', 'audit_forwarder', 'audit_hub',
        'audit_recorder', 'audit_recorder_2', 'audit_recorder_3', 'audit_recorder_4'
    ]
    loop
        begin
            execute format('create role %I nologin', role_name);
        exception
            when duplicate_object or unique_violation then
                null;
        end;
        -- audit_owner hands the capture functions that it compiles over to the recorders.
        if role_name like 'audit\_recorder%' and not pg_has_role('audit_owner', role_name, 'member') then
            execute format('grant %I to audit_owner', role_name);
        end if;
    end loop;

    -- Whoever may read every organization can confine a session to one.
    foreach role_name in array array['audit_auditor', 'audit_admin']
    loop
        if not pg_has_role(role_name, 'audit_org_reader', 'member') then
            execute format('grant audit_org_reader to %I', role_name);
        end if;
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

create schema if not exists audit_internal authorization audit_owner;

comment on schema audit_internal is
    'pgtrail: the functions behind those of schema audit, and the compiled capture functions. Not to be called by hand.';
