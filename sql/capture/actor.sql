-- Who did it: what the application says, else what PostgREST or Supabase say, else the database role.

-- While functions are replaced none follows what is replaced: the event triggers are made anew at the end.
reset role;
do $superuser$
begin
    if (select rolsuper from pg_roles where rolname = current_user) then
        drop event trigger if exists pgtrail_follow_ddl;
        drop event trigger if exists pgtrail_follow_drop;
        drop event trigger if exists pgtrail_follow_rewrite;
    end if;
end
$superuser$;
set local role audit_owner;

create or replace function audit.set_actor(
    id text,
    label text default null,
    type text default 'user',
    ip inet default null,
    user_agent text default null,
    request_id text default null,
    reason text default null
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    select pg_catalog.set_config(
        'pgtrail.actor',
        case
            when id is not null then pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                'type', type,
                'id', id,
                'label', label,
                'ip', pg_catalog.host(ip),
                'user_agent', user_agent,
                'request_id', request_id,
                'reason', reason
            ))::text
            else ''
        end,
        true
    )
$$;

comment on function audit.set_actor(text, text, text, inet, text, text, text) is
    'Says who does what follows in this transaction (and in this transaction alone, so it holds behind a transaction pooler). A null id takes it back. Outside a transaction block it has no effect.';

-- Runs inside the compiled definers, under their search_path.
create or replace function audit_internal.claimed_actor()
returns audit.actor
language plpgsql
stable
as $$
declare
    claims jsonb;
    actor audit.actor;
begin
    -- Any client can put anything into these settings; garbage must not cost the application its write.
    begin
        if pg_catalog.current_setting('pgtrail.actor', true) <> '' then
            actor := pg_catalog.jsonb_populate_record(null::audit.actor, pg_catalog.current_setting('pgtrail.actor')::jsonb);
        else
            claims := nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb;
            actor.id := claims ->> 'sub';
            actor.label := claims ->> 'email';
        end if;
    exception
        when data_exception or program_limit_exceeded then
            return null;
    end;
    if actor.type = 'user' and actor.id is not null then
        return actor;
    elsif actor.id is null then
        return null;
    end if;
    -- Only the role that really is logged in is a `database` actor, however the claim is spelled.
    if actor.type is null or pg_catalog.lower(pg_catalog.regexp_replace(actor.type, '[^A-Za-z]', '', 'g') collate "C") = 'database' then
        actor.type := 'user';
    end if;
    return actor;
end
$$;

comment on function audit_internal.claimed_actor() is
    'The actor that the application claims in this transaction: by audit.set_actor(), else by `request.jwt.claims` (`sub`, `email`). Never of type `database`: that becomes a `user`. Null: nobody is claimed, or the setting can''t be read.';

-- These two stand in compiled functions, where the planner sees through them.
create or replace function audit_internal.database_actor_id()
returns text
language sql
stable
as $$
    -- `set role` shows through the definers only in this setting.
    select coalesce(nullif(pg_catalog.current_setting('role', true), 'none'), session_user::text)
$$;

comment on function audit_internal.database_actor_id() is 'The role that was set, else the one that logged in.';

create or replace function audit_internal.actor_is_claimed()
returns boolean
language sql
stable
as $$
    select pg_catalog.current_setting('pgtrail.actor', true) <> ''
        or pg_catalog.current_setting('request.jwt.claims', true) <> ''
$$;

comment on function audit_internal.actor_is_claimed() is
    'Whether the application or PostgREST may have said who it is: audit_internal.claimed_actor() knows. False or null: the database role.';

create or replace function audit_internal.database_actor()
returns audit.actor
language sql
stable
as $$
    select row('database', audit_internal.database_actor_id(), null, null, null, null, null)::audit.actor
$$;

comment on function audit_internal.database_actor() is
    'The actor where nobody claims to be one: the role that was set, else the one that logged in.';

create or replace function audit.current_actor()
returns audit.actor
language sql
stable
as $$
    select coalesce(audit_internal.claimed_actor(), audit_internal.database_actor())
$$;

comment on function audit.current_actor() is
    'The actor of this transaction: audit_internal.claimed_actor(), else the database role.';

create or replace function audit_internal.may_name_other_actors()
returns boolean
language sql
stable
as $$
    -- (A superuser is in every role.)
    select pg_catalog.pg_has_role(session_user, 'audit_admin', 'member')
        or not (
            pg_catalog.pg_has_role(session_user, 'audit_reader', 'member')
            or pg_catalog.pg_has_role(session_user, 'audit_auditor', 'member')
            or pg_catalog.pg_has_role(session_user, 'audit_forwarder', 'member')
        )
        -- (Itself: an auditor is in it too, by way of audit_auditor.)
        or exists (
            select
            from pg_catalog.pg_auth_members
            join pg_catalog.pg_roles on pg_roles.oid = pg_auth_members.member
            where roleid = 'audit_org_reader'::pg_catalog.regrole and rolname = session_user
        )
$$;

comment on function audit_internal.may_name_other_actors() is
    'Whether the login may name somebody else as the actor of pgtrail''s own events: an application, an administrator (audit_admin), or a page that was itself granted audit_org_reader. Whoever else reads or forwards is recorded as the role that it is.';
