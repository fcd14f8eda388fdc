-- What audit.track() and its like check before they do anything.

create or replace function audit_internal.check_is_not_own(relation regclass, role_name name)
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

comment on function audit_internal.check_is_not_own(regclass, name) is
    'Raises PT039 if it is a table of schema audit, unless the role is audit_owner, in it, or a superuser.';

create or replace function audit_internal.refuse_own_table()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- current_user: who recompiles may have these rows follow their tables' columns, by functions of audit_owner's.
    if tg_op <> 'INSERT' then
        perform audit_internal.check_is_not_own(old.relation, current_user);
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    perform audit_internal.check_is_not_own(new.relation, current_user);
    return new;
end
$$;

comment on function audit_internal.refuse_own_table() is
    'Refuses changes of how pgtrail''s own tables are recorded: or who configures could have a signing secret recorded in clear. PT039.';

create or replace trigger refuse_own_table
    before insert or update or delete on audit.tracked_table
    for each row execute function audit_internal.refuse_own_table();

create or replace trigger refuse_own_table
    before insert or update or delete on audit.rule
    for each row execute function audit_internal.refuse_own_table();

create or replace function audit_internal.reason_not_trackable(relation regclass)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    kind "char";
    persistence "char";
    is_partition boolean;
    is_distributed boolean := false;
    is_tracked constant boolean := exists (select from audit.tracked_table as tracked where tracked.relation = reason_not_trackable.relation);
    own_trigger name;
begin
    select relkind, relpersistence, relispartition into kind, persistence, is_partition from pg_class where oid = relation;
    -- Citus keeps the rows of a distributed table, and of a reference table, in other tables.
    if to_regclass('pg_catalog.pg_dist_partition') is not null then
        execute 'select exists (select from pg_catalog.pg_dist_partition where logicalrelid = $1)' into is_distributed using relation;
    end if;
    -- (Once the table is tracked, one of that name has been put in the place of ours, and is replaced.)
    if not is_tracked then
        select tgname
        into own_trigger
        from pg_trigger
        where tgrelid in (select relid from audit_internal.partition_tree(relation))
            and tgname = any (audit_internal.trigger_names())
            and oid not in (select trigger_oid from audit_internal.installed_triggers())
        limit 1;
    end if;
    return case
        when kind is null then 'does not exist'
        when kind in ('v', 'm') then 'is a view: track the tables that it reads'
        when kind = 'f' then 'is a foreign table: track it in the database that it comes from'
        when kind not in ('r', 'p') then 'is not a table'
        when is_distributed then 'is distributed by Citus, which fires no trigger of it here: track it on the nodes that hold its rows'
        when persistence = 't' then 'is temporary'
        when relation in ('audit.event'::regclass, 'audit.cursor'::regclass, 'audit.attempt'::regclass)
            or exists (select from pg_inherits where inhrelid = relation and inhparent = 'audit.event'::regclass)
            then 'is where the log itself is kept'
        -- (One that is tracked, and became a partition, is recorded by row.)
        when is_partition and not is_tracked then format('is a partition: track %s, with which it is recorded', pg_partition_root(relation))
        when exists (
                select
                from pg_partition_tree(relation) as tree
                join audit.tracked_table as tracked on tracked.relation = tree.relid
                where tree.relid <> reason_not_trackable.relation
            )
            then 'has partitions that are tracked by themselves: untrack those first'
        when own_trigger is not null then format('has a trigger of its own called %s: rename that first', own_trigger)
    end;
end
$$;

comment on function audit_internal.reason_not_trackable(regclass) is 'Why a table can''t be tracked, whatever the settings; null: it can.';

create or replace function audit_internal.check_can_be_tracked(tracked_relation regclass, bulk boolean, hot boolean)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    refused record;
begin
    for refused in
        select reason, hint
        from (values
            (1, 'it ' || audit_internal.reason_not_trackable(tracked_relation), 'Name an ordinary or a partitioned table.'),
            (
                2,
                (
                    select format('what inherits from it is not tracked yet (%s)', string_agg(child::text, ', ' order by child))
                    from audit_internal.untracked_children(tracked_relation) as child
                    having count(*) > 0
                ),
                'Track that first: an update of its rows through the parent fires only triggers of its own.'
            ),
            (
                3,
                'its updates can''t be recorded by statement: ' || case
                    when not bulk then null
                    when (select relkind = 'p' from pg_class where oid = tracked_relation) then
                        'it has partitions, whose updates fire row triggers alone'
                    when exists (select from pg_inherits where tracked_relation in (inhparent, inhrelid)) then
                        'an update through the table that it inherits from, or that inherits from it, would be recorded twice'
                    when audit_internal.identity_columns(tracked_relation) = '{}' then
                        'without a primary key nothing says which row became which'
                end,
                'Leave out bulk: updates are then recorded by row.'
            ),
            (
                4,
                'its trigger can''t be for audited columns alone: ' || case
                    when not hot then null
                    when bulk then 'a trigger for some columns can''t record by statement'
                    when audit_internal.changes_rows_before(tracked_relation) then
                        'it has a BEFORE trigger, which may change columns that an UPDATE does not name'
                    when not exists (select from pg_event_trigger where evtname = 'pgtrail_follow_ddl' and evtenabled in ('O', 'A')) then
                        'without pgtrail''s event triggers, which a superuser installs, columns that are added would go unrecorded'
                end,
                'Leave out hot: each update then calls the trigger.'
            )
        ) as given (number, reason, hint)
        where reason is not null
        order by number
    loop
        raise exception using
            errcode = 'PT001',
            message = format('%s can''t be tracked: %s', tracked_relation, refused.reason),
            hint = refused.hint;
    end loop;
end
$$;

comment on function audit_internal.check_can_be_tracked(regclass, boolean, boolean) is
    'Raises PT001 unless a table can be tracked: an ordinary or a partitioned one whose children are tracked; bulk: whose old and new rows can be paired by their key; hot: whose updates name the columns that they change.';

create or replace function audit_internal.check_columns(relation regclass, names text[], argument text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text := (
        select string_agg(format('"%s"', name), ', ')
        from unnest(names) as name
        where name is not null and name <> all (audit_internal.column_names(relation))
    );
begin
    if unknown is not null then
        raise exception using
            errcode = 'PT002',
            message = format('%s has no column %s (named in %s)', relation, unknown, argument),
            hint = format('Its columns are %s.', array_to_string(audit_internal.column_names(relation), ', '));
    end if;
end
$$;

comment on function audit_internal.check_columns(regclass, text[], text) is 'Raises PT002 if the table lacks one of the columns.';

create or replace function audit_internal.check_stored_column(relation regclass, column_name text, argument text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit_internal.check_columns(relation, array[column_name], argument);
    if exists (select from pg_attribute where attrelid = relation and attname = column_name and attgenerated = 'v') then
        raise exception using
            errcode = 'PT002',
            message = format('the column "%s" of %s is virtual (named in %s)', column_name, relation, argument),
            hint = 'A trigger has no value of a column that is computed when it is read. Name one that it is computed from, or make it stored.';
    end if;
end
$$;

comment on function audit_internal.check_stored_column(regclass, text, text) is
    'Raises PT002 unless the table has the column (null: none is named), and triggers a value of it.';

create or replace function audit_internal.checked_source(relation regclass, argument text, written text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if audit_internal.is_path(relation, written) then
        return audit_internal.path_as_text(relation, argument, written);
    end if;
    perform audit_internal.check_stored_column(relation, written, argument);
    return written;
end
$$;

comment on function audit_internal.checked_source(regclass, text, text) is
    'An org or a label as it is stored: the name of a column, or a path in its one form. PT002, PT033.';

create or replace function audit_internal.check_is_tracked(tracked_relation regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from audit.tracked_table where relation = tracked_relation) then
        raise exception using
            errcode = 'PT002',
            message = format('%s is not tracked', tracked_relation),
            hint = 'The tracked tables are in audit.tracked_table; audit.track() adds one.';
    end if;
end
$$;

comment on function audit_internal.check_is_tracked(regclass) is 'Raises PT002 unless the table is tracked.';

create or replace function audit_internal.check_name(kind text, name text, pattern text, description text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if name !~ pattern or name is null then
        raise exception using
            errcode = 'PT009',
            message = format('"%s" is no %s', left(name, 100), kind),
            hint = format('Give %s.', description);
    end if;
end
$$;

comment on function audit_internal.check_name(text, text, text, text) is
    'Raises PT009 unless the name has the form of its kind: a resource, an action or an operation.';

create or replace function audit_internal.check_category(category_name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from audit.category where name = category_name) then
        raise exception using
            errcode = 'PT002',
            message = format('there is no category "%s"', category_name),
            hint = 'The categories are ' || (select string_agg(name, ', ' order by position, name) from audit.category)
                || '. Add one with: insert into audit.category (name, label, position) values (…)';
    end if;
end
$$;

comment on function audit_internal.check_category(text) is 'Raises PT002, with the list, unless the category exists.';
