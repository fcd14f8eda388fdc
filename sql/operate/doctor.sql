-- The findings of audit.doctor(): what is wrong, and how to fix it.

create or replace function audit_internal.find_circumstances()
returns setof audit.finding
language sql
stable
as $$
    select
        'information',
        'event triggers',
        'pgtrail was installed without a superuser, so schema changes are followed when audit.recompile() is called, and not before: '
            'until then new columns are not recorded, new partitions lack their TRUNCATE, a renamed or dropped table is not noticed, '
            'and no event says that a trigger was switched off or a table altered',
        'call audit.recompile() at the end of each of your migrations; or run pgtrail migrate as a superuser, once'
    where pg_catalog.to_regprocedure('audit_internal.extend_capture()') is null
    union all
    select
        'information',
        'standby',
        pg_catalog.format(
            'this server is a standby, which had last replayed a commit of %s: this is the state of the primary at that time. '
            'It records nothing, seals nothing and notifies nobody',
            coalesce(
                pg_catalog.to_char(pg_catalog.pg_last_xact_replay_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                'an unknown time'
            )
        ),
        'ask the primary for what is wrong there; pgtrail log, show, page and verify work here too'
    where pg_catalog.pg_is_in_recovery()
$$;

comment on function audit_internal.find_circumstances() is
    'Returns what is not wrong but limits pgtrail: an installation without a superuser; a standby.';

create or replace function audit.doctor()
returns setof audit.finding
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- Many small queries: JIT compilation takes seconds, running them milliseconds.
set jit = off
as $$
    select found.*
    from (
        select * from audit_internal.find_capture_problems()
        union all
        select * from audit_internal.find_forwarding_problems()
        union all
        select * from audit_internal.find_storage_problems()
        union all
        select * from audit_internal.find_hub_problems()
        union all
        select * from audit_internal.find_circumstances()
    ) as found
    -- Lost events first, then events that are not forwarded, then what can wait.
    order by
        array_position(
            array[
                'trigger missing', 'trigger disabled', 'trigger altered', 'trigger doubled', 'log unprotected',
                'event trigger missing', 'event trigger disabled', 'child untracked', 'table replaced', 'compiled out of date',
                'restored elsewhere', 'no worker', 'needs attention', 'suspended', 'retrying', 'receiver gone',
                'filters fail', 'standstill', 'cursor stale', 'dead letters', 'partition missing', 'default partition filled',
                'rule broken', 'paused for long', 'table gone', 'wake-up held', 'node not followed', 'node rewritten',
                'hub changed', 'hub does not read', 'publication blocks', 'information'
            ],
            found.problem
        ),
        found.subject,
        found.finding
$$;

comment on function audit.doctor() is
    'Returns what is wrong with this installation, the most urgent first, each with a hint; no row: nothing is wrong. Problem `information`: nothing is wrong, but worth knowing. `pgtrail doctor` adds what only a client can check (whether LISTEN works).';
