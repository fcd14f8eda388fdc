-- The actions of the changes of a table.

-- SQL for a column's value, in a form that Postgres' own operators compare; null: there is none.
create function pg_temp.compared(relation regclass, row_name text, column_name text)
returns text
language sql
stable
as $$
    -- A condition may use only built-in operators, and not every type has one for equality.
    select format('%s.%I', row_name, column_name) || case
        when item.oid < 16384 and (
            item.typcategory in ('S', 'N', 'D', 'T', 'B', 'I', 'V')
            or item.oid in ('uuid'::regtype, 'jsonb'::regtype, 'bytea'::regtype)
        ) then ''
        when type.typtype = 'e' then ''
        else '::text'
    end
    from pg_attribute
    join pg_type as type on type.oid = atttypid
    join pg_type as item on item.oid = case when type.typcategory = 'A' and type.typelem <> 0 then type.typelem else type.oid end
    where attrelid = relation and attname = column_name
        -- A cast with a function is somebody's code, which conditions must not run.
        and not exists (
            select from pg_cast
            where castsource = type.oid and casttarget = 'text'::regtype and castfunc >= 16384
        )
$$;

-- The rules that a status column gives, by the values that are known of it.
create function pg_temp.suggested_state_rules(relation regclass, field text, states text[], of_members boolean)
returns table (operation text, verb text, condition text, why text)
language sql
stable
as $$
    with invited as (
        select state from unnest(states) as state
        where of_members and lower(state collate "C") in ('invited', 'pending')
        order by lower(state collate "C") <> 'invited'
        limit 1
    ),
    accepted as (
        select state from unnest(states) as state
        where exists (select from invited) and lower(state collate "C") in ('active', 'accepted')
        order by lower(state collate "C") <> 'active'
        limit 1
    )
    select 'INSERT', 'invited', format('new.%I = %s', field, pg_temp.literal(state)), 'a row begins as an invitation'
    from invited
    union all
    select 'UPDATE', 'accepted',
        format('old.%1$I = %2$s and new.%1$I = %3$s', field, pg_temp.literal(invited.state), pg_temp.literal(accepted.state)),
        'an invitation is taken'
    from invited
    cross join accepted
    union all
    select 'UPDATE', verb,
        format('new.%1$I is distinct from old.%1$I and new.%1$I in (%2$s)', field,
            string_agg(pg_temp.literal(known.state), ', ' order by known.state collate "C")),
        format('%s comes to %s', pg_temp.one_line(field), string_agg(pg_temp.one_line(known.state), ', ' order by known.state collate "C"))
    from unnest(states) as known (state)
    join pg_temp.state_words() as word on word.state = lower(known.state collate "C")
    where known.state not in (select accepted.state from accepted)
        and cardinality(states) > 1
    group by verb
$$;

-- The rules of a table of settings by name: one for each name that was found, in the category of that name if there is one.
create function pg_temp.suggested_setting_rules(relation regclass, field text, names text[], resource text, category text)
returns table (operation text, action text, category text, condition text, why text)
language sql
stable
as $$
    with setting as (
        select name, audit_internal.name_words(name) as words, rank
        from unnest(names[:8]) with ordinality as setting (name, rank)
        where audit_internal.name_words(name) ~ '^[a-z][a-z0-9_]{0,40}$'
    ),
    named as (
        select
            case when known.name is not null then known.name || '.updated' else format('%s.%s_updated', resource, words) end as action,
            coalesce(known.name, suggested_setting_rules.category) as category,
            string_agg(pg_temp.literal(setting.name), ', ' order by rank) as literals,
            min(rank) as rank
        from setting
        left join audit.category as known on known.name = setting.words and known.name <> 'audit'
        group by 1, 2
    )
    select occasion.operation, coalesce(named.action, rest.action), coalesce(named.category, suggested_setting_rules.category),
        case
            when named.action is not null then format('%s.%I in (%s)', occasion.changed_row, field, named.literals)
            when exists (select from named) then format('%s.%I not in (%s)', occasion.changed_row, field, (select string_agg(literals, ', ' order by rank) from named))
        end,
        'one name, one setting: setting it, changing it and taking it back are updates of the settings'
    from (values (1, 'INSERT', 'new'), (2, 'UPDATE', 'new'), (3, 'DELETE', 'old')) as occasion (number, operation, changed_row)
    cross join (
        select action, category, literals, rank from named
        union all
        select null, null, null, 1000
    ) as named
    cross join (select resource || '.updated' as action) as rest
    order by occasion.number, named.rank
$$;

-- The rules that single columns give, before they are put together; field is the column, rank the order in which they are
-- tried.
create function pg_temp.suggested_column_rules()
returns table (relation regclass, rank integer, operation text, action text, category text, condition text, optional boolean, why text, field text, turn integer)
language sql
stable
as $$
    with field as materialized (
        select columns.*, tables.resource, tables.category, tables.words as table_words,
            pg_temp.compared(columns.relation, 'new', name) || ' is distinct from ' || pg_temp.compared(columns.relation, 'old', name) as has_changed
        from pg_temp.column_fact as columns
        join pg_temp.table_fact as tables on tables.relation = columns.relation
        where columns.ignore_why is null
    ),
    -- Tables of people who log in here, not of servers that the application logs in to.
    person as materialized (
        select tables.relation
        from pg_temp.table_fact as tables
        where (
                tables.category in ('users', 'profile', 'members', 'password')
                or tables.words ~ '(^|_)(login|auth|credential|admin|administrator|staff|employee)$'
                or audit_internal.is_about_person(tables.relation)
            )
            and not exists (
                select from field
                where field.relation = tables.relation
                    and (
                        field.words ~ E'^(\\w+_)?(port|endpoint|bucket|dsn)$'
                        -- (A user may be of another server.)
                        or tables.category not in ('users', 'profile', 'members') and field.words ~ E'^(\\w+_)?(host|hostname|server)$'
                    )
            )
    )
    select field.relation, 1, 'UPDATE', 'plan.changed', 'plan', has_changed, false, 'a plan or tier', name, 0
    from field
    where field.words ~ '^((billing|subscription|pricing|current)_)?(plan|tier)(_(tier|id|type|name|key))?$' and field.category <> 'plan' and has_changed is not null
    union all
    select field.relation, 1, 'UPDATE', 'password.changed', 'password', has_changed, false, 'a password', name, 0
    from field
    where field.words ~ '^((hashed|encrypted)_)?(password|passwd)(_(hash|digest))?$' and kind in ('text', 'bytes') and has_changed is not null
        and field.relation in (select person.relation from person)
    union all
    -- (Each password is a row of its own.)
    select field.relation, 2, operation, 'password.changed', 'password', case operation when 'UPDATE' then has_changed end, false, 'a new password', name, 0
    from field
    cross join unnest('{INSERT,UPDATE}'::text[]) as operation
    where field.category = 'password' and field.number = (
            select min(other.number) from field as other where other.relation = field.relation and other.secret_why is not null
        )
        and has_changed is not null
    union all
    select field.relation, switch.rank::integer + 10, 'UPDATE',
        resource || '.' || case when field.category = 'members' and verb = 'deleted' and resource !~ 'invite' then 'removed' else verb end,
        field.category,
        case when field.kind = 'bool'
            then format(case when turned = 1 then 'old.%1$I is not true and new.%1$I' else 'old.%1$I and new.%1$I is not true' end, name)
            else format(case when turned = 1 then 'old.%1$I is null and new.%1$I is not null' else 'old.%1$I is not null and new.%1$I is null' end, name)
        end,
        switch.optional, pg_temp.one_line(name) || case when turned = 1 then ' is set' else ' is taken back' end, name, turned
    from field
    join (select row_number() over () as rank, * from pg_temp.switch_words()) as switch
        on field.words ~ switch.pattern and field.kind in ('bool', 'time') and switch.kind in ('any', field.kind)
    cross join lateral (values (1, switch.verb_on), (2, switch.verb_off)) as turn (turned, verb)
    where verb is not null
    union all
    select field.relation, 30, 'UPDATE', resource || '.rotated', field.category, has_changed, false, 'a new secret', name, 0
    from field
    where field.category in ('api_keys', 'credentials')
        and secret_why is not null and not is_foreign and has_changed is not null
        and field.words ~ '^((hashed|encrypted)_)?(key|token|secret|hash|api_key|access_key|client_secret|private_key|credential|credential_value|value)s?(_(hash|digest|value|encrypted|b64))?$|_b64$'
    union all
    select field.relation, case state.verb when 'invited' then 5 when 'accepted' then 8 else 40 end, state.operation, resource || '.' || state.verb, field.category,
        state.condition, false, state.why, name, 0
    from field
    cross join lateral pg_temp.suggested_state_rules(field.relation, name, states, field.category = 'members') as state
    where field.words ~ E'^(\\w+_)?(status|state)$' and kind = 'text'
    union all
    select field.relation, 50, 'UPDATE', resource || '.role_changed', field.category, has_changed, false, 'a role', name, 0
    from field
    where field.words ~ '^((user|member|team|org|organization)_)?role(_id)?$|^is_(admin|superuser|staff|owner)$|^(access|permission)_level$'
        and field.category <> 'access' and not is_key and has_changed is not null
    union all
    select field.relation, 60, 'DELETE', resource || '.removed', field.category, null, false, 'a membership ends', null, 0
    from field
    where field.category = 'members' and number = 1 and resource !~ 'invite'
    union all
    select field.relation, 70, setting.operation, setting.action, setting.category, setting.condition, false, setting.why, name, 0
    from field
    cross join lateral pg_temp.suggested_setting_rules(field.relation, name, states, resource, field.category) as setting
    where field.category = 'settings' and kind = 'text' and is_key
        and field.words ~ '^(name|key|param_name|config_type|(setting|option|config)_(name|key))$'
        and exists (select from field as value where value.relation = field.relation and value.words ~ '(^|_)(value|data|content)$')
$$;

-- The rules that are proposed, in the order in which they are to be added; each compiles. optional: as a comment only.
create function pg_temp.suggested_rules()
returns setof pg_temp.proposed_rule
language sql
stable
as $$
    with found as materialized (
        select found.*, row_number() over (
                order by found.rank, array_position('{INSERT,UPDATE,DELETE}', found.operation), found.turn, found.field collate "C", found.action collate "C",
                    audit_internal.qualified_name(found.relation) collate "C"
            ) as number
        from pg_temp.suggested_column_rules() as found
        where found.action ~ E'^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$'
            and (select problem from audit_internal.parse_condition(found.relation, found.operation, found.condition)) is null
    ),
    together as (
        -- Two columns with the same meaning (is_staff, is_superuser) are one rule.
        select found.relation, min(number) as number, found.operation, found.action, found.category,
            string_agg(found.condition, ' or ' order by number) as condition, found.optional, min(found.why) as why
        from found
        group by found.relation, found.rank, found.operation, found.action, found.category, found.optional
    ),
    first as (
        select distinct on (together.relation, together.operation, together.action) *
        from together
        order by together.relation, together.operation, together.action, number
    ),
    rest as (
        -- Other changes belong to the table's own category. (By exclusion, so that columns can be added and dropped.)
        select tables.relation, tables.resource || '.updated' as action, tables.category,
            format('to_jsonb(new) - %1$L::text[] is distinct from to_jsonb(old) - %1$L::text[]', array_agg(columns.name order by columns.number) filter (
                where columns.ignore_why is not null
                    or columns.name in (select found.field from found where found.relation = tables.relation and found.category <> tables.category)
            )) as condition
        from pg_temp.table_fact as tables
        join pg_temp.column_fact as columns on columns.relation = tables.relation
        where tables.relation in (
                select found.relation from found where found.operation = 'UPDATE' and found.category <> tables.category and found.rank < 70
            )
            -- (Some json can't be converted to jsonb.)
            and not exists (
                select from pg_attribute where attrelid = tables.relation and atttypid in ('json'::regtype, 'json[]'::regtype)
            )
        group by tables.relation, tables.resource, tables.category
    )
    select first.relation, number, first.operation, first.action, first.category, first.condition, first.optional, first.why
    from first
    union all
    select rest.relation, 1000000, 'UPDATE', rest.action, rest.category, rest.condition, false,
        'so that a change of both gives an event of each category'
    from rest
    where (select problem from audit_internal.parse_condition(rest.relation, 'UPDATE', rest.condition)) is null
$$;
