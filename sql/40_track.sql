-- What a DBA calls: track, untrack, rule, drop_rule, recompile.
-- They run as their caller, who must be in audit_admin and own the table (or have TRIGGER on it).

drop function if exists audit.track(regclass, text, text, text, text, text[], text[], text[], boolean, boolean, text);

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
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
#variable_conflict use_variable
declare
    resource_name text := coalesce(resource, (select relname from pg_class where oid = relation));
    category_name text := coalesce(category, trim(both '_' from regexp_replace(lower(resource_name collate "C"), '[^a-z0-9]+', '_', 'g')));
    redacted text[];
    org_of regclass;
    places_before regclass[] := array(
        select distinct place from audit.path_step as step where step.relation = track.relation and position > 0
    );
begin
    perform audit.check_is_not_own(relation, current_user);
    perform audit.check_can_be_tracked(relation);
    perform audit.check_children(relation);
    if bulk then
        perform audit.check_bulk(relation);
    end if;
    if hot then
        perform audit.check_hot(relation, bulk);
    end if;
    perform audit.check_name('resource', resource_name, '.', 'the name of a kind of thing, such as key');
    if audit.is_path(relation, org) then
        org := audit.written_path(relation, 'org', org);
    else
        perform audit.check_stored_column(relation, org, 'org');
    end if;
    if audit.is_path(relation, label) then
        label := audit.written_path(relation, 'label', label);
    else
        perform audit.check_stored_column(relation, label, 'label');
    end if;
    perform audit.check_stored_column(relation, actor, 'actor');
    perform audit.check_columns(relation, ignore, 'ignore');
    perform audit.check_columns(relation, array(select unnest(audit.columns_of_secret(relation, path)) from unnest(secret) as path), 'secret');
    perform audit.check_columns(relation, reveal, 'reveal');

    redacted := secret || audit.secrets_by_name(relation, ignore || reveal || secret);
    if audit.is_secret_or_holds_one(label, redacted) then
        raise exception using
            errcode = 'PT004',
            message = format('the label column "%s" of %s is secret', label, relation),
            hint = 'Choose another label, or name the column in reveal => … if it is no secret.';
    end if;
    if audit.is_secret_or_holds_one(org, redacted) then
        raise exception using
            errcode = 'PT072',
            message = format('the organization column "%s" of %s is secret', org, relation),
            hint = 'Choose another column, or name it in reveal => … if it is no secret.';
    end if;
    if audit.is_secret_or_holds_one(actor, redacted) then
        raise exception using
            errcode = 'PT072',
            message = format('the actor column "%s" of %s is secret', actor, relation),
            hint = 'Choose another column, or name it in reveal => … if it is no secret.';
    end if;
    org_of := (
        select step.relation
        from audit.present_steps() as step
        join pg_attribute on attrelid = step.place and attnum = step.column_number
        where step.place = track.relation
            and step.position > 0
            and audit.is_secret_or_holds_one(attname, redacted)
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
            errcode = 'PT073',
            message = format('a column of %s that is to be secret is the organization or the label of %s', relation, org_of),
            hint = format('Track %s with another org or label first.', org_of);
    end if;
    if category is null then
        insert into audit.category (name, label, position)
        values (category_name, initcap(replace(category_name, '_', ' ') collate "C"), 500)
        on conflict (name) do nothing;
    end if;
    perform audit.check_category(category_name);

    insert into audit.tracked_table as known (relation, name, resource, category, org, label, ignore, secret, personal, bulk, actor, hot)
    values (
        relation, audit.qualified_name(relation), resource_name, category_name, org, label, ignore, redacted, personal, bulk, actor, hot
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

    perform audit.store_paths(relation, org, label);
    perform audit.lock_for_policies(relation, places_before, false);
    perform audit.revoke_reading(place) from unnest(places_before) as place;
    perform audit.allow_reading(relation);
    perform audit.compile_table(relation);
    perform audit.renew_triggers(relation);
    perform audit.renew_relatives();
    perform audit.name_known_orgs(relation);

    if cardinality(redacted) > cardinality(secret) then
        raise notice '%: redacted by their names: % (reveal => … shows them)',
            relation, array_to_string(redacted[cardinality(secret) + 1:], ', ');
    end if;
    if cardinality(audit.identity_columns(relation)) = 0 then
        raise warning '% has no primary key: its events are identified by a digest of the whole row', relation
            using hint = 'Add a primary key, or a unique index over columns that are not null, and call audit.track() again.';
    end if;
end
$$;

comment on function audit.track(regclass, text, text, text, text, text[], text[], text[], boolean, boolean, text, boolean) is
    'Tracks a table: from now on every change to it is an event. resource names its kind (default: the table''s name); category (default: one named as the resource, made if need be); org is a column, or the path to it through other tables (`team_id -> public.team.org_id`; after a comma another, should the first lead nowhere); label is a column or such a path (`user_id -> public.user.email + team_id -> public.team.name` joins two), cut at 200 characters; ignore: columns not audited; secret: columns, paths into JSON columns (`settings.api_key`), and columns of the rows whose other column names a secret (`value when key`), which are redacted besides those that look secret by their name; reveal: columns that look secret and are not; personal: whether its rows tell of a person (default: whether a column looks so by its name); bulk: updates are recorded by statement, not by row, which costs half where one updates many rows, and more where only ignored columns change; actor: a column that says who wrote the row, which counts where nobody is claimed to be the actor (on an update if it, or the time beside it, changed; never on a delete); hot: an update that names no audited column does not even call the trigger, and an audited column can''t be dropped or get another type until audit.track() was called without it. Can be called again with other settings. PT001–PT005, PT031, PT033, PT034, PT036, PT038, PT039, PT072, PT073, PT075.';

create or replace function audit.untrack(tracked_relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    places regclass[] := array(select distinct place from audit.path_step where relation = tracked_relation and position > 0);
begin
    perform audit.check_is_not_own(tracked_relation, current_user);
    perform audit.check_is_tracked(tracked_relation);
    -- First, so that what follows is no loss of capture.
    delete from audit.tracked_table where relation = tracked_relation;
    perform audit.watch_triggers();
    perform audit.lock_for_policies(tracked_relation, places, true);
    perform audit.drop_triggers(tracked_relation);
    perform audit.revoke_reading(place) from unnest(places || tracked_relation) as place;
    perform audit.drop_orphaned_functions();
    perform audit.renew_relatives();
end
$$;

comment on function audit.untrack(regclass) is
    'Removes a table''s triggers, their functions and its rules. Its events stay. PT003, PT039.';

create or replace function audit.rule(
    tracked_relation regclass,
    action text,
    category text,
    operation text default 'UPDATE',
    condition text default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
#variable_conflict use_variable
begin
    perform audit.check_is_not_own(tracked_relation, current_user);
    perform audit.check_is_tracked(tracked_relation);
    perform audit.check_category(category);
    operation := upper(operation collate "C");
    perform audit.check_name('operation', operation, '^(INSERT|UPDATE|DELETE)$', 'INSERT, UPDATE or DELETE');
    perform audit.check_name('action', action, E'^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$', 'two words, such as key.rotated');
    insert into audit.rule as known (relation, operation, action, category, condition)
    values (tracked_relation, operation, action, category, condition)
    on conflict on constraint rule_relation_operation_action_key do update
    set category = excluded.category, condition = excluded.condition
    where (known.category, known.condition) is distinct from (excluded.category, excluded.condition);
    if found then
        perform audit.compile_table(tracked_relation);
    end if;
end
$$;

comment on function audit.rule(regclass, text, text, text, text) is
    'Names the action of a change: audit.rule(table, action, category, operation, condition). Rules are tried in the order in which they were added. Calling it again with the same table, operation and action replaces category and condition. PT003, PT005, PT006, PT031, PT039.';

create or replace function audit.drop_rule(tracked_relation regclass, action text, operation text default 'UPDATE')
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
#variable_conflict use_variable
begin
    perform audit.check_is_not_own(tracked_relation, current_user);
    delete from audit.rule as rule
    where rule.relation = tracked_relation and rule.operation = upper(operation collate "C") and rule.action = action;
    if not found then
        raise exception using
            errcode = 'PT007',
            message = format('%s has no rule %s on %s', tracked_relation, action, upper(operation collate "C")),
            hint = 'Its rules are in audit.rule.';
    end if;
    perform audit.compile_table(tracked_relation);
end
$$;

comment on function audit.drop_rule(regclass, text, text) is
    'Takes a rule back. PT007, PT039.';

create or replace function audit.recompile(only_relation regclass default null)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    gone_relation regclass;
    tracked_relation regclass;
    compiled integer := 0;
begin
    for gone_relation in
        select relation
        from audit.tracked_table
        where not exists (select from pg_class where oid = relation)
    loop
        delete from audit.tracked_table where relation = gone_relation;
    end loop;

    -- Before it is compiled, by which a function that somebody altered is as it should be.
    perform audit.watch_triggers();
    for tracked_relation in
        select relation
        from audit.tracked_table
        where only_relation is null or relation = only_relation
        order by relation
    loop
        perform audit.allow_reading(tracked_relation);
        perform audit.drop_disowned_functions(tracked_relation);
        perform audit.compile_table(tracked_relation);
        perform audit.renew_triggers(tracked_relation);
        compiled := compiled + 1;
    end loop;
    perform audit.drop_orphaned_functions();
    return compiled;
end
$$;

comment on function audit.recompile(regclass) is
    'Compiles one tracked table, or all, to their columns and rules as they are now; puts missing triggers back and enables disabled ones; forgets tables that were dropped. How many it compiled.';

create or replace function audit.set_on_failure(p_on_failure text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    tracked_relation regclass;
begin
    if p_on_failure is null or p_on_failure not in ('refuse', 'continue') then
        raise exception using
            errcode = 'PT030',
            message = format('"%s" is nothing that can be done when recording fails', p_on_failure),
            hint = 'Choose refuse (the change fails too) or continue (it goes through, and an event says so).';
    end if;
    update audit.policy set on_failure = p_on_failure where on_failure <> p_on_failure;
    if not found then
        return;
    end if;
    for tracked_relation in
        select tracked.relation
        from audit.tracked_table as tracked
        join pg_class on pg_class.oid = tracked.relation
    loop
        perform audit.compile_table(tracked_relation);
    end loop;
end
$$;

comment on function audit.set_on_failure(text) is
    'What happens to a change that can''t be recorded: `refuse` (as installed: it fails, nothing goes unrecorded) or `continue` (it goes through; what can be recorded is, and an event audit.recording_failed says that it was not all). `continue` runs each recording in a subtransaction, which costs transaction ids in bulk updates. PT030.';

-- The steps of the above -------------------------------------------------------------------------------------------

create or replace function audit.check_is_not_own(relation regclass, role_name name)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pg_class where oid = relation and relnamespace = 'audit'::regnamespace)
        and not pg_has_role(role_name, 'audit_owner', 'usage')
    then
        raise exception using
            errcode = 'PT039',
            message = format('%s is pgtrail''s own: "%s" may not change how it is recorded', relation, role_name),
            hint = 'A superuser may, or whoever can: set role audit_owner';
    end if;
end
$$;

comment on function audit.check_is_not_own(regclass, name) is
    'Raises PT039 if it is a table of schema audit, unless the role is audit_owner, in it, or a superuser.';

create or replace function audit.refuse_own()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- current_user: who recompiles may have these rows follow their tables' columns, by functions of audit_owner's.
    if tg_op <> 'INSERT' then
        perform audit.check_is_not_own(old.relation, current_user);
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    perform audit.check_is_not_own(new.relation, current_user);
    return new;
end
$$;

comment on function audit.refuse_own() is
    'Refuses changes of how pgtrail''s own tables are recorded: or who configures could have a signing secret recorded in clear. PT039.';

create or replace trigger refuse_own
    before insert or update or delete on audit.tracked_table
    for each row execute function audit.refuse_own();

create or replace trigger refuse_own
    before insert or update or delete on audit.rule
    for each row execute function audit.refuse_own();

create or replace function audit.is_distributed(relation regclass)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    is_listed boolean := false;
begin
    if to_regclass('pg_catalog.pg_dist_partition') is not null then
        execute 'select exists (select from pg_catalog.pg_dist_partition where logicalrelid = $1)' into is_listed using relation;
    end if;
    return is_listed;
end
$$;

comment on function audit.is_distributed(regclass) is
    'Whether Citus has distributed a table, or made it a reference table: its rows are in other tables then.';

create or replace function audit.check_can_be_tracked(relation regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    kind "char";
    persistence "char";
    is_partition boolean;
    own_trigger name := (
        select pg_trigger.tgname
        from pg_trigger
        join pg_proc on pg_proc.oid = pg_trigger.tgfoid
        where pg_trigger.tgrelid in (select relid from pg_partition_tree(relation) union select relation)
            and pg_trigger.tgname in ('pgtrail_insert', 'pgtrail_update', 'pgtrail_delete', 'pgtrail_truncate')
            and not (pg_proc.pronamespace = 'audit'::regnamespace and starts_with(pg_proc.proname, 'capture '))
        limit 1
    );
    reason text;
begin
    select relkind, relpersistence, relispartition into kind, persistence, is_partition from pg_class where oid = relation;
    reason := case
        when kind is null then 'does not exist'
        when kind in ('v', 'm') then 'is a view: track the tables that it reads'
        when kind = 'f' then 'is a foreign table: track it in the database that it comes from'
        when kind not in ('r', 'p') then 'is not a table'
        when audit.is_distributed(relation) then 'is distributed by Citus, which fires no trigger of it here: track it on the nodes that hold its rows'
        when persistence = 't' then 'is temporary'
        when relation in ('audit.event'::regclass, 'audit.cursor'::regclass, 'audit.attempt'::regclass)
            or exists (select from pg_inherits where inhrelid = relation and inhparent = 'audit.event'::regclass)
            then 'is where the log itself is kept'
        when is_partition
            -- (One that is tracked, and became a partition, is recorded by row.)
            and not exists (select from audit.tracked_table where tracked_table.relation = check_can_be_tracked.relation)
            then format('is a partition: track %s, with which it is recorded', pg_partition_root(relation))
        when exists (
                select
                from pg_partition_tree(relation) as tree
                join audit.tracked_table as tracked on tracked.relation = tree.relid
                where tree.relid <> check_can_be_tracked.relation
            )
            then 'has partitions that are tracked by themselves: untrack those first'
        -- (Once it is tracked, one of that name has been put in the place of ours, and is replaced.)
        when own_trigger is not null and not exists (
                select from audit.tracked_table where tracked_table.relation = check_can_be_tracked.relation
            )
            then format('has a trigger of its own called %s: rename that first', own_trigger)
    end;
    if reason is not null then
        raise exception using
            errcode = 'PT001',
            message = format('%s can''t be tracked: it %s', relation, reason),
            hint = 'Name an ordinary or a partitioned table.';
    end if;
end
$$;

comment on function audit.check_can_be_tracked(regclass) is 'Raises PT001 unless it is an ordinary or a partitioned table.';

create or replace function audit.untracked_children(tracked_relation regclass)
returns setof regclass
language sql
stable
as $$
    select pg_inherits.inhrelid::pg_catalog.regclass
    from pg_catalog.pg_inherits
    join pg_catalog.pg_class as parent on parent.oid = pg_inherits.inhparent and parent.relkind = 'r'
    where pg_inherits.inhparent = tracked_relation
        and pg_inherits.inhrelid not in (select relation from audit.tracked_table)
    order by pg_inherits.inhrelid
$$;

comment on function audit.untracked_children(regclass) is
    'The tables that inherit from a table and are not tracked: an update of their rows through it fires only triggers of their own.';

create or replace function audit.check_children(relation regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    children text := (
        select string_agg(child::text, ', ' order by child) from audit.untracked_children(relation) as child
    );
begin
    if children is not null then
        raise exception using
            errcode = 'PT036',
            message = format('%s can''t be tracked yet: what inherits from it is not (%s)', relation, children),
            hint = 'Track that first: an update of its rows through the parent fires only triggers of its own.';
    end if;
end
$$;

comment on function audit.check_children(regclass) is 'Raises PT036 unless every table that inherits from a table is tracked.';

create or replace function audit.check_bulk(bulk_relation regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    reason text := case
        when (select relkind = 'p' from pg_class where oid = bulk_relation) then
            'it has partitions, whose updates fire row triggers alone'
        when exists (select from pg_inherits where bulk_relation in (inhparent, inhrelid)) then
            'an update through the table that it inherits from, or that inherits from it, would be recorded twice'
        when audit.identity_columns(bulk_relation) = '{}' then
            'without a primary key nothing says which row became which'
    end;
begin
    if reason is not null then
        raise exception using
            errcode = 'PT038',
            message = format('the updates of %s can''t be recorded by statement: %s', bulk_relation, reason),
            hint = 'Leave out bulk: updates are then recorded by row.';
    end if;
end
$$;

comment on function audit.check_bulk(regclass) is 'Raises PT038 unless old and new rows of an update can be paired by their key.';

create or replace function audit.changes_rows_before(changed_relation regclass)
returns boolean
language sql
stable
as $$
    select exists (
        select
        from pg_catalog.pg_trigger
        where pg_trigger.tgrelid in (select relid from pg_catalog.pg_partition_tree(changed_relation) union select changed_relation)
            and not pg_trigger.tgisinternal
            -- The bits of tgtype: 1 for each row, 2 before, 16 update.
            and pg_trigger.tgtype & 19 = 19
    )
$$;

comment on function audit.changes_rows_before(regclass) is
    'Whether a BEFORE trigger may change columns that an UPDATE does not name.';

create or replace function audit.update_columns(tracked audit.tracked_table)
returns text[]
language plpgsql
stable
as $$
begin
    if not tracked.hot or audit.changes_rows_before(tracked.relation) then
        return '{}';
    end if;
    return array(select name from audit.audited_columns(tracked) order by number);
end
$$;

comment on function audit.update_columns(audit.tracked_table) is
    'The columns whose updates call a table''s UPDATE trigger; none: all do.';

create or replace function audit.check_hot(hot_relation regclass, bulk boolean)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    reason text := case
        when bulk then 'a trigger for some columns can''t record by statement'
        when audit.changes_rows_before(hot_relation) then 'it has a BEFORE trigger, which may change columns that an UPDATE does not name'
        when not exists (select from pg_event_trigger where evtname = 'pgtrail_follow_ddl' and evtenabled in ('O', 'A')) then
            'without pgtrail''s event triggers, which a superuser installs, columns that are added would go unrecorded'
    end;
begin
    if reason is not null then
        raise exception using
            errcode = 'PT075',
            message = format('the trigger of %s can''t be for audited columns alone: %s', hot_relation, reason),
            hint = 'Leave out hot: each update then calls the trigger.';
    end if;
end
$$;

comment on function audit.check_hot(regclass, boolean) is
    'Raises PT075 where an update of audited columns might not name one.';

create or replace function audit.check_columns(relation regclass, names text[], argument text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text := (
        select string_agg(format('"%s"', name), ', ')
        from unnest(names) as name
        where name is not null and name <> all (audit.column_names(relation))
    );
begin
    if unknown is not null then
        raise exception using
            errcode = 'PT002',
            message = format('%s has no column %s (named in %s)', relation, unknown, argument),
            hint = format('Its columns are %s.', array_to_string(audit.column_names(relation), ', '));
    end if;
end
$$;

comment on function audit.check_columns(regclass, text[], text) is 'Raises PT002 if the table lacks one of the columns.';

create or replace function audit.check_is_not_virtual(relation regclass, column_number smallint, argument text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pg_attribute where attrelid = relation and attnum = column_number and attgenerated = 'v') then
        raise exception using
            errcode = 'PT002',
            message = format(
                'the column "%s" of %s is virtual (named in %s)',
                (select attname from pg_attribute where attrelid = relation and attnum = column_number), relation, argument
            ),
            hint = 'A trigger has no value of a column that is computed when it is read. Name one that it is computed from, or make it stored.';
    end if;
end
$$;

comment on function audit.check_is_not_virtual(regclass, smallint, text) is 'Raises PT002 if a column is a virtual generated one.';

create or replace function audit.check_stored_column(relation regclass, column_name text, argument text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.check_columns(relation, array[column_name], argument);
    perform audit.check_is_not_virtual(relation, (select attnum from pg_attribute where attrelid = relation and attname = column_name), argument);
end
$$;

comment on function audit.check_stored_column(regclass, text, text) is
    'Raises PT002 unless the table has the column (null: none is named), and triggers a value of it.';

create or replace function audit.columns_of_secret(relation regclass, entry text)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    hidden text := audit.column_of_path(entry, audit.column_names(relation));
begin
    return case
        when hidden is null then array[split_part(split_part(entry, ' when ', 1), '.', 1)]
        when starts_with(entry, hidden || ' when ') then array[hidden, substr(entry, length(hidden || ' when ') + 1)]
        else array[hidden]
    end;
end
$$;

comment on function audit.columns_of_secret(regclass, text) is
    'The columns that an entry of secret => … names: `api_key`, `settings.**.?`, `value when key`; the first part, if it is none.';

create or replace function audit.secrets_by_name(relation regclass, judged text[])
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select entry
        from (
            select attname, attnum, attname::text
            from pg_attribute
            where attrelid = relation
                and attnum > 0
                and not attisdropped
                and (audit.looks_secret(attname, atttypid) or attname in (select audit.token_columns(relation)))
            union all
            select attname, attnum, concat(value_column, ' when ', name_column)
            from audit.settings_by_name(relation)
            join pg_attribute on attrelid = relation and attname = value_column
            where not audit.looks_secret(attname, atttypid)
        ) as found (column_name, number, entry)
        where column_name <> all (judged) and entry <> all (judged)
        order by number, entry
    );
end
$$;

comment on function audit.secrets_by_name(regclass, text[]) is
    'What audit.track() redacts without being told, as entries of secret => …: columns that look secret by their name, or by that of the table that they are in, and the values of settings that are rows. judged: columns, and entries, that somebody has decided about.';

create or replace function audit.tracked_root(relation regclass)
returns regclass
language sql
stable
as $$
    select tracked.relation
    from (
        select tracked_root.relation
        union all
        select relid from pg_catalog.pg_partition_ancestors(tracked_root.relation)
    ) as place (relation)
    join audit.tracked_table as tracked on tracked.relation = place.relation
    limit 1
$$;

comment on function audit.tracked_root(regclass) is 'The tracked table that a table is, or is a partition of; null: neither.';

create or replace function audit.check_is_tracked(tracked_relation regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from audit.tracked_table where relation = tracked_relation) then
        raise exception using
            errcode = 'PT003',
            message = format('%s is not tracked', tracked_relation),
            hint = 'The tracked tables are in audit.tracked_table; audit.track() adds one.';
    end if;
end
$$;

comment on function audit.check_is_tracked(regclass) is 'Raises PT003 unless the table is tracked.';

create or replace function audit.check_name(kind text, name text, pattern text, description text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if name !~ pattern or name is null then
        raise exception using
            errcode = 'PT031',
            message = format('"%s" is no %s', left(name, 100), kind),
            hint = format('Give %s.', description);
    end if;
end
$$;

comment on function audit.check_name(text, text, text, text) is
    'Raises PT031 unless the name has the form of its kind: a resource, an action or an operation.';

create or replace function audit.check_category(category_name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from audit.category where name = category_name) then
        raise exception using
            errcode = 'PT005',
            message = format('there is no category "%s"', category_name),
            hint = 'The categories are ' || (select string_agg(name, ', ' order by position, name) from audit.category)
                || '. Add one with: insert into audit.category (name, label, position) values (…)';
    end if;
end
$$;

comment on function audit.check_category(text) is 'Raises PT005, with the list, unless the category exists.';

create or replace function audit.lock_briefly(relations regclass[], lock_mode text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Whoever waits for a lock makes all that come after wait behind: so briefly, and then lets them by.
    turn constant interval := interval '50 ms';
    patience constant interval := interval '30 s';
    began constant timestamptz := clock_timestamp();
    waits_before text := current_setting('lock_timeout');
    turn_ends timestamptz;
    target regclass;
begin
    loop
        begin
            turn_ends := clock_timestamp() + turn;
            for target in
                select tree.relid
                from unnest(relations) as named (relation)
                cross join lateral (
                    select relid from pg_partition_tree(named.relation) union select named.relation
                ) as tree
                order by tree.relid
            loop
                perform set_config(
                    'lock_timeout',
                    greatest(1, extract(milliseconds from turn_ends - clock_timestamp())::integer)::text,
                    true
                );
                execute format('lock table only %s in %s mode', audit.qualified_name(target), lock_mode);
            end loop;
            perform set_config('lock_timeout', waits_before, true);
            return;
        exception
            when insufficient_privilege then
                -- Who has TRIGGER on the table and no more may not lock it, and waits as long as it takes.
                return;
            when lock_not_available then
                if clock_timestamp() > began + patience then
                    raise exception using
                        errcode = 'PT034',
                        message = format('%s is in use: no moment was found in %s s to lock it', array_to_string(relations, ', '), extract(seconds from patience)::integer),
                        hint = 'Try again, or end the transaction that holds it: select pid, query from pg_stat_activity join pg_locks using (pid) where relation = '
                            || format('any (%L::regclass[])', relations);
                end if;
        end;
        perform pg_sleep(0.05 + random() * 0.1);
    end loop;
end
$$;

comment on function audit.lock_briefly(regclass[], text) is
    'Takes the lock that adding or dropping triggers needs, on tables and their partitions, all together, in turns of at most 50 ms between which writers go on. PT034 after 30 s.';

create or replace function audit.lock_for_policies(relation regclass, places_before regclass[], leaving boolean)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    filtered regclass[] := array(
        select pg_class.oid::regclass
        from pg_class
        where pg_class.oid in (
                select unnest(places_before || relation)
                union
                select place from audit.path_step as step where step.relation = lock_for_policies.relation
            )
            and (
                pg_class.relrowsecurity
                or exists (select from pg_policy where polrelid = pg_class.oid and polname = 'pgtrail_truncate')
            )
            -- One that is there, and is to be, needs no lock.
            and (
                leaving
                or pg_class.oid = any (places_before)
                or not exists (select from pg_policy where polrelid = pg_class.oid and polname = 'pgtrail_truncate')
            )
    );
begin
    -- All in one turn: a lock that one table has must not wait for another's.
    if filtered <> '{}' then
        perform audit.lock_briefly(filtered || relation, 'access exclusive');
    end if;
end
$$;

comment on function audit.lock_for_policies(regclass, regclass[], boolean) is
    'Locks a table together with those whose policies it makes or drops, if there are any. PT034.';

create or replace function audit.renew_triggers(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- What was switched off before this, and what this switches on, are two events.
    perform audit.watch_table(relation);
    perform audit.drop_renamed_triggers(relation);
    perform audit.create_triggers(relation);
    perform audit.enable_triggers(relation);
    perform audit.watch_table(relation);
end
$$;

comment on function audit.renew_triggers(regclass) is
    'Gives a tracked table the triggers that it lacks, enables those that don''t fire, and records what was so. Takes SHARE ROW EXCLUSIVE on the table if it does anything.';

create or replace function audit.is_for_columns(p_trigger oid, columns text[])
returns boolean
language sql
stable
as $$
    -- (By name: a partition's columns may have other numbers.)
    select case
        when trigger.tgattr::text = '' then columns = '{}'
        else array(
            select attname::text
            from pg_catalog.pg_attribute
            where attrelid = trigger.tgrelid and attnum = any (trigger.tgattr::smallint[])
            order by 1
        ) = array(select name from pg_catalog.unnest(columns) as name order by 1)
    end
    from pg_catalog.pg_trigger as trigger
    where trigger.oid = p_trigger
$$;

comment on function audit.is_for_columns(oid, text[]) is
    'Whether a trigger is for updates of just these columns; none: for all.';

create or replace function audit.misfits()
returns table (relation regclass, operation text, by_row boolean, columns text[])
language sql
stable
as $$
    select tracked.relation, capture.operation, wanted.by_row, wanted.columns
    from audit.tracked_table as tracked
    cross join (values ('INSERT'), ('UPDATE'), ('DELETE')) as capture (operation)
    join pg_catalog.pg_trigger as trigger
        on trigger.tgrelid = tracked.relation and trigger.tgname = ('pgtrail_' || pg_catalog.lower(capture.operation collate "C"))::name
    cross join lateral (
        select
            audit.records_by_row(tracked, capture.operation),
            case capture.operation when 'UPDATE' then audit.update_columns(tracked) else '{}' end
    ) as wanted (by_row, columns)
    where (trigger.tgtype & 1 = 1) <> wanted.by_row
        -- (Of other tables a trigger for some columns is somebody's work: told of, and put right when it is asked for.)
        or tracked.hot and not audit.is_for_columns(trigger.oid, wanted.columns)
$$;

comment on function audit.misfits() is
    'The triggers that fire for each statement and should for each row, or the other way round, since their table got or lost parents or tracked children; and those for other columns than are audited now.';

create or replace function audit.renew_relatives()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    relative regclass;
begin
    for relative in
        select distinct relation from audit.misfits()
    loop
        perform audit.compile_table(relative);
        perform audit.renew_triggers(relative);
    end loop;
end
$$;

comment on function audit.renew_relatives() is
    'Has the parents of a table that is tracked now, or no more, record as that wants it.';

create or replace function audit.drop_renamed_triggers(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    renamed record;
begin
    -- With its successor beside it, it would record everything twice.
    for renamed in
        select pg_trigger.tgrelid::regclass as target, pg_trigger.tgname
        from pg_trigger
        join pg_proc on pg_proc.oid = pg_trigger.tgfoid
        where pg_trigger.tgrelid in (select relid from pg_partition_tree(relation) union select relation)
            and pg_trigger.tgparentid = 0
            and pg_trigger.tgname not in ('pgtrail_insert', 'pgtrail_update', 'pgtrail_delete', 'pgtrail_truncate')
            and pg_proc.pronamespace = 'audit'::regnamespace
            and starts_with(pg_proc.proname, 'capture ')
    loop
        perform audit.lock_briefly(array[renamed.target]::regclass[], 'access exclusive');
        execute format('drop trigger %I on %s', renamed.tgname, audit.qualified_name(renamed.target));
    end loop;
end
$$;

comment on function audit.drop_renamed_triggers(regclass) is 'Drops the triggers of a tracked table to which somebody gave other names.';

create or replace function audit.create_triggers(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    partitioned boolean := (select relkind = 'p' from pg_class where oid = relation);
    tracked audit.tracked_table;
    planned record;
    installed pg_trigger;
begin
    select * into strict tracked from audit.tracked_table as known where known.relation = create_triggers.relation;
    for planned in
        select
            target,
            'pgtrail_' || lower(operation collate "C") as trigger_name,
            concat(
                timing, ' ', operation,
                case when operation = 'UPDATE' then
                    ' of ' || (select string_agg(quote_ident(name), ', ' order by position) from unnest(audit.update_columns(tracked)) with ordinality as updated (name, position))
                end
            ) as occasion,
            case when level = 'row' or rows_as is null then '' else format('referencing %s ', rows_as) end
                || 'for each ' || level as granularity,
            audit.capture_function_name(relation, operation) as function_name
        from (values
            ('after', 'INSERT', 'new table as new_rows'),
            ('after', 'UPDATE', 'old table as old_rows new table as new_rows'),
            ('after', 'DELETE', 'old table as old_rows'),
            ('before', 'TRUNCATE', null)
        ) as capture (timing, operation, rows_as)
        cross join lateral (
            select case when audit.records_by_row(tracked, operation) then 'row' else 'statement' end as level
        ) as firing
        cross join lateral (
            select relation as target
            where not (partitioned and operation = 'TRUNCATE')
            union all
            -- A partition can be truncated by itself, and fires no statement trigger of its parent's then.
            select tree.relid
            from pg_partition_tree(relation) as tree
            where tree.isleaf and partitioned and operation = 'TRUNCATE'
        ) as targets
    loop
        select * into installed from pg_trigger where tgrelid = planned.target and tgname = planned.trigger_name;
        continue when audit.is_as_created(installed.oid, relation) and exists (
            select
            from pg_proc
            where pg_proc.oid = installed.tgfoid
                and pg_proc.proname = planned.function_name
                and pg_proc.pronamespace = 'audit'::regnamespace
        );
        -- (Nothing can be put in the place of a constraint trigger.)
        if installed.tgconstraint <> 0 then
            perform audit.lock_briefly(array[planned.target]::regclass[], 'access exclusive');
            execute format('drop trigger %I on %s', planned.trigger_name, audit.qualified_name(planned.target));
        end if;
        perform audit.lock_briefly(array[planned.target]::regclass[], 'share row exclusive');
        execute format(
            'create or replace trigger %I %s on %s %s execute function audit.%I()',
            planned.trigger_name,
            planned.occasion,
            audit.qualified_name(planned.target),
            planned.granularity,
            planned.function_name
        );
    end loop;
end
$$;

comment on function audit.create_triggers(regclass) is
    'Creates the triggers that a tracked table lacks, and anew those that are not as they should be. Takes SHARE ROW EXCLUSIVE on the table if it does.';

create or replace function audit.enable_triggers(tracked_relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    silent record;
begin
    for silent in
        select target, string_agg(format('enable trigger %I', trigger_name), ', ') as changes
        from audit.capture_triggers()
        where relation = tracked_relation and state in ('disabled', 'replica')
        group by target
    loop
        perform audit.lock_briefly(array[silent.target]::regclass[], 'share row exclusive');
        execute format('alter table %s %s', audit.qualified_name(silent.target), silent.changes);
    end loop;
end
$$;

comment on function audit.enable_triggers(regclass) is 'Enables the triggers of a tracked table that somebody disabled.';

create or replace function audit.granted_recorders(relation regclass)
returns name[]
language sql
stable
as $$
    select array(
        select pg_roles.rolname
        from pg_catalog.pg_class
        cross join pg_catalog.aclexplode(pg_class.relacl) as granted
        join pg_catalog.pg_roles on pg_roles.oid = granted.grantee
        where pg_class.oid = relation
            and granted.privilege_type = 'SELECT'
            and pg_roles.rolname ~ '^audit_recorder(_[0-9]+)?$'
        group by pg_roles.rolname
        order by pg_roles.rolname
    )
$$;

comment on function audit.granted_recorders(regclass) is
    'The roles that record to which SELECT on a table was granted, not what they may as anybody may.';

create or replace function audit.allow_reading(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    former name;
begin
    for target in
        select
            pg_class.oid::regclass as relation,
            audit.qualified_name(pg_class.oid) as name,
            pg_namespace.nspname as schema_name,
            pg_class.relrowsecurity as filtered,
            audit.assign_recorder(pg_class.oid) as recorder
        from (
            select relid from pg_partition_tree(relation) where isleaf
            union
            select relation
            union
            select place from audit.path_step as step where step.relation = allow_reading.relation
        ) as read (oid)
        join pg_class on pg_class.oid = read.oid
        join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    loop
        continue when target.recorder = 'audit_owner';
        -- (Of its own, whatever the public may read: what extends capture knows it by that.)
        if target.recorder <> all (audit.granted_recorders(target.relation)) then
            execute format('grant select on %s to %I', target.name, target.recorder);
        end if;
        -- That of whoever owned it before must not read what its new owner keeps in it.
        foreach former in array audit.granted_recorders(target.relation)
        loop
            if former <> target.recorder then
                execute format('revoke select on %s from %I', target.name, former);
            end if;
        end loop;
        if not has_schema_privilege(target.recorder, target.schema_name, 'usage') then
            execute format('grant usage on schema %I to %I', target.schema_name, target.recorder);
        end if;
        continue when not target.filtered or exists (
            select
            from pg_policy
            where polrelid = target.relation and polname = 'pgtrail_truncate' and polroles = array[target.recorder::regrole::oid]
        );
        perform audit.lock_briefly(array[target.relation]::regclass[], 'access exclusive');
        if exists (select from pg_policy where polrelid = target.relation and polname = 'pgtrail_truncate') then
            execute format('drop policy pgtrail_truncate on %s', target.name);
        end if;
        execute format('create policy pgtrail_truncate on %s for select to %I using (true)', target.name, target.recorder);
    end loop;
end
$$;

comment on function audit.allow_reading(regclass) is
    'Lets the role that records a table read it, which recording a TRUNCATE needs, and what leads to its organization and its label, through row-level security too. PT061.';

create or replace function audit.revoke_reading(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    recorder name;
begin
    if audit.tracked_root(relation) is not null or exists (select from audit.passed_through(relation)) then
        return;
    end if;
    for target in
        select
            pg_class.oid::regclass as relation,
            audit.qualified_name(pg_class.oid) as name,
            exists (select from pg_policy where polrelid = pg_class.oid and polname = 'pgtrail_truncate') as has_policy
        from pg_class
        where pg_class.oid in (select relid from pg_partition_tree(relation) union select relation)
            and pg_class.relowner <> 'audit_owner'::regrole
    loop
        if target.has_policy then
            perform audit.lock_briefly(array[target.relation]::regclass[], 'access exclusive');
            execute format('drop policy pgtrail_truncate on %s', target.name);
        end if;
        foreach recorder in array audit.granted_recorders(target.relation)
        loop
            execute format('revoke select on %s from %I', target.name, recorder);
        end loop;
    end loop;
end
$$;

comment on function audit.revoke_reading(regclass) is
    'Takes back what audit.allow_reading() gave on a table, once it is neither tracked nor passed through by a path.';

create or replace function audit.drop_triggers(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    installed record;
begin
    for installed in
        select pg_trigger.tgrelid::regclass as target, pg_trigger.tgname
        from pg_trigger
        join pg_proc on pg_proc.oid = pg_trigger.tgfoid
        where (
                pg_trigger.tgrelid in (select relid from pg_partition_tree(relation) union select relation)
                -- A partition that was detached keeps its trigger where no event trigger took it away.
                or pg_proc.proname = audit.capture_function_name(relation, 'TRUNCATE')
            )
            and pg_trigger.tgparentid = 0
            and pg_proc.pronamespace = 'audit'::regnamespace
            and starts_with(pg_proc.proname, 'capture ')
    loop
        perform audit.lock_briefly(array[installed.target]::regclass[], 'access exclusive');
        execute format('drop trigger %I on %s', installed.tgname, audit.qualified_name(installed.target));
    end loop;
end
$$;

comment on function audit.drop_triggers(regclass) is 'Removes pgtrail''s triggers from a table and its partitions.';

create or replace function audit.drop_disowned_functions(relation regclass)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    operation text;
begin
    foreach operation in array array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']
    loop
        if exists (
            select
            from pg_proc
            where proname = audit.capture_function_name(relation, operation)
                and pronamespace = 'audit'::regnamespace
                and not pg_has_role('audit_owner', proowner, 'usage')
        ) then
            execute format('drop function audit.%I() cascade', audit.capture_function_name(relation, operation));
        end if;
    end loop;
end
$$;

comment on function audit.drop_disowned_functions(regclass) is
    'Drops, with its trigger, a table''s compiled function that somebody gave another owner and that can''t be compiled anew: both are created again.';

create or replace function audit.drop_orphaned_functions()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    orphan regprocedure;
begin
    for orphan in
        select pg_proc.oid
        from pg_proc
        where pg_proc.pronamespace = 'audit'::regnamespace
            and case split_part(pg_proc.proname, ' ', 1)
                when 'capture' then not exists (select from pg_trigger where tgfoid = pg_proc.oid)
                    and proname not in (
                        select audit.capture_function_name(relation, operation)
                        from audit.tracked_table
                        cross join unnest(array['insert', 'update', 'delete', 'truncate']) as operation
                    )
                when 'name' then proname not in (
                    select audit.namer_name(tracked.relation) from audit.tracked_table as tracked where audit.names_orgs(tracked)
                )
                when 'read' then proname not in (select audit.reader_name(relation) from audit.tracked_table)
                when 'label' then proname not in (
                    select audit.labeller_name(relation) from audit.tracked_table where audit.has_path(relation, 'label')
                )
                when 'find' then proname not in (
                    select function_name
                    from audit.tracked_table
                    cross join audit.lookups(relation)
                    where function_name is not null
                )
            end
    loop
        execute format('drop function %s', orphan);
    end loop;
end
$$;

comment on function audit.drop_orphaned_functions() is 'Drops the compiled functions that no table needs any more.';

