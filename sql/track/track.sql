-- What a DBA calls: track, untrack, rule, drop_rule, recompile.
-- They run as their caller, who must be in audit_admin and own the table (or have TRIGGER on it).

create or replace function audit.track(
    relation regclass,
    resource text default null,
    category text default null,
    org text default null,
    label text default null,
    ignore text[] default '{}',
    secret text[] default '{}',
    reveal text[] default '{}',
    personal boolean default null,
    bulk boolean default false,
    actor text default null,
    hot boolean default false
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
#variable_conflict use_variable
declare
    resource_name text := coalesce(resource, (select relname from pg_class where oid = relation));
    category_name text := coalesce(category, trim(both '_' from regexp_replace(lower(resource_name collate "C"), '[^a-z0-9]+', '_', 'g')));
    redacted text[];
    named record;
    org_of regclass;
    places_before regclass[] := array(
        select distinct step_table from audit.path_step as step where step.relation = track.relation and position > 0
    );
begin
    perform audit_internal.check_is_not_own(relation, current_user);
    perform audit_internal.check_can_be_tracked(relation, bulk, hot);
    perform audit_internal.check_name('resource', resource_name, '.', 'the name of a kind of thing, such as key');
    org := audit_internal.checked_source(relation, 'org', org);
    label := audit_internal.checked_source(relation, 'label', label);
    perform audit_internal.check_stored_column(relation, actor, 'actor');
    perform audit_internal.check_columns(relation, ignore, 'ignore');
    perform audit_internal.check_columns(relation, array(select unnest(audit_internal.columns_of_secret(relation, path)) from unnest(secret) as path), 'secret');
    perform audit_internal.check_columns(relation, reveal, 'reveal');

    redacted := secret || audit_internal.secrets_by_name(relation, ignore || reveal || secret);
    for named in
        select argument, column_name
        from (values ('label', label), ('org', org), ('actor', actor)) as given (argument, column_name)
        where audit_internal.is_or_contains_secret(column_name, redacted)
    loop
        raise exception using
            errcode = 'PT004',
            message = format('the %s column "%s" of %s is secret', named.argument, named.column_name, relation),
            hint = 'Choose another column, or name it in reveal => … if it is no secret.';
    end loop;
    org_of := (
        select step.relation
        from audit_internal.current_steps() as step
        join pg_attribute on attrelid = step.step_table and attnum = step.column_number
        where step.step_table = track.relation
            and step.position > 0
            and audit_internal.is_or_contains_secret(attname, redacted)
            and not exists (
                select
                from audit.path_step as later
                where (later.relation, later.purpose, later.branch) = (step.relation, step.purpose, step.branch)
                    and later.position > step.position
            )
        limit 1
    );
    if org_of is not null then
        raise exception using
            errcode = 'PT004',
            message = format('a column of %s that is to be secret is the organization or the label of %s', relation, org_of),
            hint = format('Track %s with another org or label first.', org_of);
    end if;
    if category is null then
        insert into audit.category (name, label, position)
        values (category_name, initcap(replace(category_name, '_', ' ') collate "C"), 500)
        on conflict (name) do nothing;
    end if;
    perform audit_internal.check_category(category_name);

    insert into audit.tracked_table as known (relation, name, resource, category, org, label, ignore, secret, personal, bulk, actor, hot)
    values (
        relation, audit_internal.qualified_name(relation), resource_name, category_name, org, label, ignore, redacted, personal, bulk, actor, hot
    )
    on conflict on constraint tracked_table_pkey do update
    set
        resource = excluded.resource,
        category = excluded.category,
        org = excluded.org,
        label = excluded.label,
        ignore = excluded.ignore,
        secret = excluded.secret,
        personal = excluded.personal,
        bulk = excluded.bulk,
        actor = excluded.actor,
        hot = excluded.hot,
        column_numbers = '{}'
    where (known.resource, known.category, known.org, known.label, known.ignore, known.secret, known.personal, known.bulk, known.actor, known.hot)
        is distinct from (
            excluded.resource, excluded.category, excluded.org, excluded.label, excluded.ignore, excluded.secret,
            excluded.personal, excluded.bulk, excluded.actor, excluded.hot
        );

    perform audit_internal.store_paths(relation, org, label);
    perform audit_internal.lock_for_policies(relation, places_before, false);
    perform audit_internal.revoke_reading(place) from unnest(places_before) as place;
    perform audit_internal.allow_reading(relation);
    perform audit_internal.compile_table(relation);
    perform audit_internal.renew_triggers(relation);
    perform audit_internal.renew_misfits();
    perform audit_internal.name_known_orgs(relation);

    if cardinality(redacted) > cardinality(secret) then
        raise notice '%: redacted by their names: % (reveal => … shows them)',
            relation, array_to_string(redacted[cardinality(secret) + 1:], ', ');
    end if;
    if cardinality(audit_internal.identity_columns(relation)) = 0 then
        raise warning '% has no primary key: its events are identified by a digest of the whole row', relation
            using hint = 'Add a primary key, or a unique index over columns that are not null, and call audit.track() again.';
    end if;
end
$$;

comment on function audit.track(regclass, text, text, text, text, text[], text[], text[], boolean, boolean, text, boolean) is
    'Tracks a table: from now on every change to it is an event. resource names its kind (default: the table''s name); category (default: one named as the resource, made if need be); org is a column, or the path to it through other tables (`team_id -> public.team.org_id`; after a comma another, should the first lead nowhere); label is a column or such a path (`user_id -> public.user.email + team_id -> public.team.name` joins two), cut at 200 characters; ignore: columns not audited; secret: columns, paths into JSON columns (`settings.api_key`), and columns of the rows whose other column names a secret (`value when key`), which are redacted besides those that look secret by their name; reveal: columns that look secret and are not; personal: whether its rows tell of a person (default: whether a column looks so by its name); bulk: updates are recorded by statement, not by row, which costs half where one updates many rows, and more where only ignored columns change; actor: a column that says who wrote the row, which counts where nobody is claimed to be the actor (on an update if it, or the time beside it, changed; never on a delete); hot: an update that names no audited column does not even call the trigger, and an audited column can''t be dropped or get another type until audit.track() was called without it. Can be called again with other settings. PT001, PT002, PT004, PT009, PT033, PT034, PT039.';

create or replace function audit.untrack(tracked_relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    places regclass[] := array(select distinct step_table from audit.path_step where relation = tracked_relation and position > 0);
begin
    perform audit_internal.check_is_not_own(tracked_relation, current_user);
    perform audit_internal.check_is_tracked(tracked_relation);
    -- First, so that what follows is no loss of capture.
    delete from audit.tracked_table where relation = tracked_relation;
    perform audit_internal.watch_triggers();
    perform audit_internal.lock_for_policies(tracked_relation, places, true);
    perform audit_internal.drop_triggers(tracked_relation);
    perform audit_internal.revoke_reading(place) from unnest(places || tracked_relation) as place;
    perform audit_internal.drop_unused_functions();
    perform audit_internal.renew_misfits();
end
$$;

comment on function audit.untrack(regclass) is
    'Removes a table''s triggers, their functions and its rules. Its events stay. PT002, PT039.';

create or replace function audit.rule(
    tracked_relation regclass,
    action text,
    category text,
    operation text default 'UPDATE',
    condition text default null
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
#variable_conflict use_variable
begin
    perform audit_internal.check_is_not_own(tracked_relation, current_user);
    perform audit_internal.check_is_tracked(tracked_relation);
    perform audit_internal.check_category(category);
    operation := upper(operation collate "C");
    perform audit_internal.check_name('operation', operation, '^(INSERT|UPDATE|DELETE)$', 'INSERT, UPDATE or DELETE');
    perform audit_internal.check_name('action', action, E'^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$', 'two words, such as key.rotated');
    insert into audit.rule as known (relation, operation, action, category, condition)
    values (tracked_relation, operation, action, category, condition)
    on conflict on constraint rule_relation_operation_action_key do update
    set category = excluded.category, condition = excluded.condition
    where (known.category, known.condition) is distinct from (excluded.category, excluded.condition);
    if found then
        perform audit_internal.compile_table(tracked_relation);
    end if;
end
$$;

comment on function audit.rule(regclass, text, text, text, text) is
    'Names the action of a change: audit.rule(table, action, category, operation, condition). Rules are tried in the order in which they were added. Calling it again with the same table, operation and action replaces category and condition. PT002, PT006, PT009, PT039.';

create or replace function audit.drop_rule(tracked_relation regclass, action text, operation text default 'UPDATE')
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
#variable_conflict use_variable
begin
    perform audit_internal.check_is_not_own(tracked_relation, current_user);
    delete from audit.rule as rule
    where rule.relation = tracked_relation and rule.operation = upper(operation collate "C") and rule.action = action;
    if not found then
        raise exception using
            errcode = 'PT002',
            message = format('%s has no rule %s on %s', tracked_relation, action, upper(operation collate "C")),
            hint = 'Its rules are in audit.rule.';
    end if;
    perform audit_internal.compile_table(tracked_relation);
end
$$;

comment on function audit.drop_rule(regclass, text, text) is
    'Takes a rule back. PT002, PT039.';

create or replace function audit.recompile(only_relation regclass default null)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    tracked_relation regclass;
    compiled integer := 0;
begin
    delete from audit.tracked_table where not exists (select from pg_class where oid = relation);
    -- Before it is compiled, by which a function that somebody altered is as it should be.
    perform audit_internal.watch_triggers();
    for tracked_relation in
        select relation
        from audit.tracked_table
        where only_relation is null or relation = only_relation
        order by relation
    loop
        perform audit_internal.allow_reading(tracked_relation);
        perform audit_internal.drop_functions_of_other_owners(tracked_relation);
        perform audit_internal.compile_table(tracked_relation);
        perform audit_internal.renew_triggers(tracked_relation);
        compiled := compiled + 1;
    end loop;
    perform audit_internal.drop_unused_functions();
    return compiled;
end
$$;

comment on function audit.recompile(regclass) is
    'Compiles one tracked table, or all, to their columns and rules as they are now; puts missing triggers back and enables disabled ones; forgets tables that were dropped. How many it compiled.';

create or replace function audit.set_on_failure(p_on_failure text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    if p_on_failure is null or p_on_failure not in ('refuse', 'continue') then
        raise exception using
            errcode = 'PT009',
            message = format('invalid on_failure "%s"', p_on_failure),
            hint = 'Choose refuse (the change fails too) or continue (it goes through, and an event says so).';
    end if;
    update audit.policy set on_failure = p_on_failure where on_failure <> p_on_failure;
    if not found then
        return;
    end if;
    perform audit_internal.compile_table(tracked.relation)
    from audit.tracked_table as tracked
    join pg_class on pg_class.oid = tracked.relation;
end
$$;

comment on function audit.set_on_failure(text) is
    'What happens to a change that can''t be recorded: `refuse` (as installed: it fails, nothing goes unrecorded) or `continue` (it goes through; what can be recorded is, and an event audit.recording_failed says that it was not all). `continue` runs each recording in a subtransaction, which costs transaction ids in bulk updates. PT009.';
