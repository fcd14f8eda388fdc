-- What audit.suggest() makes of the facts: which organization a row belongs to, and what its changes are called.

-- Organizations --------------------------------------------------------------------------------------------------------

create or replace function audit.suggested_edges(facts jsonb)
returns table (relation regclass, number smallint, name text, is_filled boolean, parent regclass)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with place as materialized (
        select tables.relation, tables.words
        from audit.facts_tables(facts) as tables
        where left_out is null or starts_with(left_out, 'tracked')
    ),
    field as materialized (
        select place.relation, attnum, attname::text as name, audit.name_words(attname) as words, atttypid, attnotnull,
            exists (
                select from pg_constraint where conrelid = place.relation and contype = 'f' and attnum = any (conkey)
            ) as refers
        from place
        join pg_attribute on attrelid = place.relation and attnum > 0 and not attisdropped and attgenerated <> 'v'
        -- Who did it leads to a person, not to the owner of the row; what is open at the moment leads to nothing that lasts.
        where audit.name_words(attname) !~ '_by(_|$)|^author(_id)?$' and audit.name_words(attname) !~ audit.momentary_words()
    ),
    declared as (
        select field.relation, field.attnum, field.name, field.attnotnull, confrelid::regclass as parent
        from field
        join pg_constraint on conrelid = field.relation and contype = 'f' and conkey = array[field.attnum]
        where confrelid <> conrelid and confrelid in (select place.relation from place)
    ),
    undeclared as (
        select field.relation, field.attnum, field.name, field.attnotnull, parent.relation as parent,
            -- Of user and end_user whose keys are both called user_id it is the one that is called so.
            rank() over (partition by field.relation, field.attnum order by is_called_so desc) as choice,
            count(*) over (partition by field.relation, field.attnum, is_called_so) as parents
        from field
        join place as parent on parent.relation <> field.relation
        join pg_constraint on conrelid = parent.relation and contype = 'p' and cardinality(conkey) = 1
        join field as key on key.relation = parent.relation and key.attnum = conkey[1] and key.atttypid = field.atttypid
        cross join lateral (
            select replace(field.words, '_', '') = replace(parent.words, '_', '') || 'id' and field.words ~ '_id$' as is_called_so
        ) as name
        where not field.refers
            and not exists (
                select from pg_constraint as own where own.conrelid = field.relation and own.contype = 'p' and own.conkey = array[field.attnum]
            )
            and (is_called_so or (field.words = key.words and key.words ~ '_id$'))
    )
    select declared.* from declared
    union
    select undeclared.relation, attnum, undeclared.name, attnotnull, undeclared.parent from undeclared where choice = 1 and parents = 1
$$;

comment on function audit.suggested_edges(jsonb) is
    'From column to table, by foreign keys of one column and, where none is declared, by name and type: team_id leads to the table team, or to the one whose key is called team_id.';

create or replace function audit.suggested_own_orgs(facts jsonb)
returns table (relation regclass, name text, is_filled boolean, is_itself boolean)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with place as materialized (
        select tables.relation, tables.words
        from audit.facts_tables(facts) as tables
        where left_out is null or starts_with(left_out, 'tracked')
    ),
    field as materialized (
        select place.relation, attnum, attname::text as name, audit.name_words(attname) as words, attnotnull, conkey is not null as is_key
        from place
        join pg_attribute on attrelid = place.relation and attnum > 0 and not attisdropped and attgenerated <> 'v'
        join pg_type on pg_type.oid = atttypid and typcategory in ('S', 'N', 'U')
        left join pg_constraint on conrelid = place.relation and contype = 'p' and conkey = array[attnum]
        where audit.name_words(attname) !~ audit.momentary_words()
    ),
    chosen as materialized (
        select candidate.column_pattern, home.relation
        from audit.org_words() as candidate
        left join lateral (
            select place.relation
            from place
            where place.words || '_id' ~ candidate.column_pattern
                and exists (select from field where field.relation = place.relation and is_key)
            order by place.relation::text collate "C"
            limit 1
        ) as home on true
        where (
            select count(distinct field.relation)
            from field
            where field.words ~ candidate.column_pattern and field.relation is distinct from home.relation
        ) >= case when home.relation is null then candidate.wanted when candidate.wanted is null then 3 else 1 end
        order by candidate.rank
        limit 1
    )
    select distinct on (field.relation) field.relation, field.name, field.attnotnull, field.relation is not distinct from chosen.relation
    from chosen
    join field on case
        when field.relation = chosen.relation then is_key
        when exists (select from pg_constraint where conrelid = field.relation and contype = 'f' and conkey = array[field.attnum])
            then exists (
                select from pg_constraint
                where conrelid = field.relation and contype = 'f' and conkey = array[field.attnum] and confrelid = chosen.relation
            )
        else field.words ~ chosen.column_pattern
    end
    order by field.relation, field.attnotnull desc, field.attnum
$$;

comment on function audit.suggested_own_orgs(jsonb) is
    'The tables that hold their organization themselves, in which column, and which one is the table of organizations.';

create or replace function audit.suggested_orgs(facts jsonb)
returns table (relation regclass, org text, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive own as materialized (
        select * from audit.suggested_own_orgs(facts)
    ),
    edge as materialized (
        select * from audit.suggested_edges(facts)
    ),
    way as (
        select edge.relation, edge.number, edge.is_filled::integer as filled, edge.parent as place, quote_ident(edge.name) as steps, 1 as depth,
            array[edge.relation, edge.parent] as passed, parent.category in ('users', 'profile') as is_of_person
        from edge
        join audit.facts_tables(facts) as parent on parent.relation = edge.parent
        where edge.relation not in (select own.relation from own where own.is_filled or own.is_itself)
            and edge.parent not in (select own.relation from own where own.is_itself)
        union all
        select way.relation, way.number, way.filled + edge.is_filled::integer, edge.parent,
            format('%s -> %s.%I', way.steps, audit.qualified_name(way.place), edge.name), depth + 1, passed || edge.parent, is_of_person
        from way
        join edge on edge.relation = way.place
        where depth < 4
            and edge.parent <> all (passed)
            and edge.parent not in (select own.relation from own where own.is_itself)
            and way.place not in (select own.relation from own)
    ),
    arrived as (
        select way.relation, format('%s -> %s.%I', steps, audit.qualified_name(place), own.name) as written,
            -- Who is in a team may be of another organization than the team is.
            row_number() over (partition by way.relation order by depth, is_of_person, way.filled desc, way.number, steps collate "C") as rank,
            depth, min(depth) over (partition by way.relation) as shortest
        from way
        join own on own.relation = way.place
    ),
    ways as (
        select arrived.relation, string_agg(written, ', ' order by rank) as written, count(*) as number
        from arrived
        where depth = shortest and rank <= 3
        group by arrived.relation
    )
    select coalesce(own.relation, ways.relation),
        case
            when own.name is null then ways.written
            when ways.written is null then own.name
            else quote_ident(own.name) || ', ' || ways.written
        end,
        case
            when own.is_itself then 'it is the organization itself'
            when own.name is not null and ways.written is not null then 'its own column, which may be null; then through other tables'
            when own.name is not null then 'its own column'
            when ways.number > 1 then 'through other tables; the first that is not null wins'
            else 'through another table'
        end
    from own
    full join ways on ways.relation = own.relation
$$;

comment on function audit.suggested_orgs(jsonb) is
    'How each table comes to its organization: by itself, by its own column, or by the shortest ways over other tables (at most three). A table that is not here has none.';

-- Labels and actors ---------------------------------------------------------------------------------------------------

create or replace function audit.own_labels(facts jsonb)
returns table (relation regclass, name text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with field as materialized (
        select columns.*, array_position(audit.label_words(tables.resource, tables.category in ('users', 'profile', 'members')), columns.words) as label_rank
        from audit.facts_columns(facts) as columns
        join audit.facts_tables(facts) as tables on tables.relation = columns.relation
    )
    select field.relation, (array_agg(field.name order by rank))[1]
    from (
        select field.relation, name, row_number() over (partition by field.relation order by label_rank, number) as rank
        from field
        where kind = 'text' and secret_why is null and ignore_why is null and not is_foreign
            and (label_rank is not null or words ~ '_(name|alias|title)$')
        union all
        -- What a setting is called.
        select setting.relation, name_column, 1000 from audit.facts_settings(facts) as setting where name_column <> 'id'
    ) as field
    group by field.relation
    union all
    -- (Of another's table only a column: its own path may be anything.)
    select tracked.relation, tracked.label
    from audit.facts_tables(facts) as tables
    join audit.tracked_table as tracked on tracked.relation = tables.relation
    where tracked.label = any (audit.column_names(tracked.relation))
$$;

comment on function audit.own_labels(jsonb) is
    'The column that people know a row by, of each table that has one: by name; nothing secret.';

create or replace function audit.suggested_labels(facts jsonb)
returns table (relation regclass, label text, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive own as materialized (
        select * from audit.own_labels(facts)
    ),
    org as materialized (
        select own_org.relation from audit.suggested_own_orgs(facts) as own_org where is_itself
    ),
    edge as materialized (
        select edge.*,
            exists (
                select from pg_constraint
                where conrelid = edge.relation and contype in ('p', 'u') and edge.number = any (conkey) and cardinality(conkey) > 1
            ) as tells_apart
        from audit.suggested_edges(facts) as edge
    ),
    way as (
        select edge.relation, edge.number, edge.is_filled, edge.tells_apart, edge.parent as first_parent, edge.parent as place,
            quote_ident(edge.name) as steps, 1 as depth, array[edge.relation, edge.parent] as passed
        from edge
        where edge.relation not in (select own.relation from own)
        union all
        -- A device of a credential of a user.
        select way.relation, way.number, way.is_filled, way.tells_apart, way.first_parent, edge.parent,
            format('%s -> %s.%I', way.steps, audit.qualified_name(way.place), edge.name), depth + 1, passed || edge.parent
        from way
        join edge on edge.relation = way.place
        where depth < 3
            and way.place not in (select own.relation from own)
            and edge.parent <> all (passed)
            and edge.parent not in (select org.relation from org)
    ),
    part as (
        select distinct on (way.relation, way.number)
            way.relation, way.number, place, depth, format('%s -> %s.%I', steps, audit.qualified_name(place), own.name) as written,
            case when tells_apart then 1 when is_filled then 2 else 3 end as tier,
            tables.category in ('users', 'profile', 'members') as is_person,
            way.first_parent in (select org.relation from org) as is_org
        from way
        join own on own.relation = way.place
        join audit.facts_tables(facts) as tables on tables.relation = way.place
        order by way.relation, way.number, depth, is_person desc, is_filled desc, steps collate "C"
    ),
    -- The organization is known anyway; what makes a row another than the next comes first.
    ranked as (
        select part.*,
            min(tier) over (partition by part.relation, is_org) as first_tier,
            bool_and(is_org) over (partition by part.relation) as has_org_alone,
            row_number() over (partition by part.relation, is_org, tier order by is_person desc, number) as rank
        from part
        -- (The project of a project's key is that project once more.)
        where depth = 1
            or not exists (
                select from part as direct where direct.relation = part.relation and direct.place = part.place and direct.depth = 1
            )
    )
    select ranked.relation, string_agg(written, ' + ' order by rank),
        case when count(*) > 1 then 'through other tables, as it has none of its own' else 'through another table, as it has none of its own' end
    from ranked
    where tier = first_tier and rank <= 3 and (not is_org or has_org_alone)
    group by ranked.relation
$$;

comment on function audit.suggested_labels(jsonb) is
    'Labels through foreign keys for the tables that have no column which people know a row by: of what tells its rows apart (a key, a unique constraint), else of what is never null; three parts at most.';

create or replace function audit.suggested_actors(facts jsonb)
returns table (relation regclass, name text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select distinct on (field.relation) field.relation, field.name
    from audit.facts_columns(facts) as field
    join pg_attribute on attrelid = field.relation and attnum = field.number
    join audit.actor_words() as word on field.words ~ word.pattern
    left join pg_constraint on conrelid = field.relation and contype = 'f' and conkey = array[field.number]
    left join audit.facts_tables(facts) as home on home.relation = confrelid
    where secret_why is null
        and not is_key
        and (
            pg_constraint.oid is null and (kind = 'text' or atttypid = 'uuid'::regtype)
            or home.category in ('users', 'profile', 'members')
        )
    order by field.relation, word.rank, pg_constraint.oid is not null, field.number
$$;

comment on function audit.suggested_actors(jsonb) is
    'The column of a table that says who changed a row last: a text, a UUID, or a foreign key to a table of people.';

-- Rules ----------------------------------------------------------------------------------------------------------------

create or replace function audit.compared(relation regclass, row_name text, column_name text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- A condition may use no operator but Postgres' own, and not every type has one for equality.
    select format('%s.%I', row_name, column_name) || case
        when item.oid < 16384 and (
            item.typcategory in ('S', 'N', 'D', 'T', 'B', 'I', 'V')
            or item.oid in ('pg_catalog.uuid'::regtype, 'pg_catalog.jsonb'::regtype, 'pg_catalog.bytea'::regtype)
        ) then ''
        when type.typtype = 'e' then ''
        else '::text'
    end
    from pg_attribute
    join pg_type as type on type.oid = atttypid
    join pg_type as item on item.oid = case when type.typcategory = 'A' and type.typelem <> 0 then type.typelem else type.oid end
    where attrelid = relation and attname = column_name
        -- A cast with a function is somebody's code, which no condition may run.
        and not exists (
            select from pg_cast
            where castsource = type.oid and casttarget = 'pg_catalog.text'::regtype and castfunc >= 16384
        )
$$;

comment on function audit.compared(regclass, text, text) is
    'SQL for a column''s value, in a form that Postgres'' own operators compare; null: there is none.';

create or replace function audit.suggested_state_rules(relation regclass, field text, states text[], of_members boolean)
returns table (operation text, verb text, condition text, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with invited as (
        select state from unnest(states) as state
        where of_members and lower(state collate "C") in ('invited', 'pending')
        order by lower(state collate "C") <> 'invited'
        limit 1
    ),
    taken as (
        select state from unnest(states) as state
        where exists (select from invited) and lower(state collate "C") in ('active', 'accepted')
        order by lower(state collate "C") <> 'active'
        limit 1
    )
    select 'INSERT', 'invited', format('new.%I = %s', field, audit.one_line_literal(state)), 'a row begins as an invitation'
    from invited
    union all
    select 'UPDATE', 'accepted',
        format('old.%1$I = %2$s and new.%1$I = %3$s', field, audit.one_line_literal(invited.state), audit.one_line_literal(taken.state)),
        'an invitation is taken'
    from invited
    cross join taken
    union all
    select 'UPDATE', verb,
        format('new.%1$I is distinct from old.%1$I and new.%1$I in (%2$s)', field,
            string_agg(audit.one_line_literal(known.state), ', ' order by known.state collate "C")),
        format('%s comes to %s', audit.one_line(field), string_agg(audit.one_line(known.state), ', ' order by known.state collate "C"))
    from unnest(states) as known (state)
    join audit.state_words() as word on word.state = lower(known.state collate "C")
    where known.state not in (select taken.state from taken)
        and cardinality(states) > 1
    group by verb
$$;

comment on function audit.suggested_state_rules(regclass, text, text[], boolean) is
    'The rules that a status column gives, by the values that are known of it.';

create or replace function audit.suggested_setting_rules(relation regclass, field text, names text[], resource text, category text)
returns table (operation text, action text, category text, condition text, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with setting as (
        select name, audit.name_words(name) as words, rank
        from unnest(names[:8]) with ordinality as setting (name, rank)
        where audit.name_words(name) ~ '^[a-z][a-z0-9_]{0,40}$'
    ),
    named as (
        select
            case when known.name is not null then known.name || '.updated' else format('%s.%s_updated', resource, words) end as action,
            coalesce(known.name, suggested_setting_rules.category) as category,
            string_agg(audit.one_line_literal(setting.name), ', ' order by rank) as literals,
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

comment on function audit.suggested_setting_rules(regclass, text, text[], text, text) is
    'The rules of a table of settings by name: one for each name that was found, in the category of that name if there is one.';

create or replace function audit.suggested_column_rules(facts jsonb)
returns table (relation regclass, rank integer, operation text, action text, category text, condition text, optional boolean, why text, field text, turn integer)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with field as materialized (
        select columns.*, tables.resource, tables.category, tables.words as table_words,
            audit.compared(columns.relation, 'new', name) || ' is distinct from ' || audit.compared(columns.relation, 'old', name) as moved
        from audit.facts_columns(facts) as columns
        join audit.facts_tables(facts) as tables on tables.relation = columns.relation
        where columns.ignore_why is null
    ),
    -- Who logs in here: not a server that we log in to, nor a thing that is locked with a password.
    person as materialized (
        select tables.relation
        from audit.facts_tables(facts) as tables
        where (
                tables.category in ('users', 'profile', 'members', 'password')
                or tables.words ~ '(^|_)(login|auth|credential|admin|administrator|staff|employee)$'
                or audit.tells_of_a_person(tables.relation)
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
    select field.relation, 1, 'UPDATE', 'plan.changed', 'plan', moved, false, 'a plan or tier', name, 0
    from field
    where field.words ~ '^((billing|subscription|pricing|current)_)?(plan|tier)(_(tier|id|type|name|key))?$' and field.category <> 'plan' and moved is not null
    union all
    select field.relation, 1, 'UPDATE', 'password.changed', 'password', moved, false, 'a password', name, 0
    from field
    where field.words ~ '^((hashed|encrypted)_)?(password|passwd)(_(hash|digest))?$' and kind in ('text', 'bytes') and moved is not null
        and field.relation in (select person.relation from person)
    union all
    -- (Each password is a row of its own.)
    select field.relation, 2, operation, 'password.changed', 'password', case operation when 'UPDATE' then moved end, false, 'a new password', name, 0
    from field
    cross join unnest('{INSERT,UPDATE}'::text[]) as operation
    where field.category = 'password' and field.number = (
            select min(other.number) from field as other where other.relation = field.relation and other.secret_why is not null
        )
        and moved is not null
    union all
    select field.relation, switch.rank::integer + 10, 'UPDATE',
        resource || '.' || case when field.category = 'members' and verb = 'deleted' and resource !~ 'invite' then 'removed' else verb end,
        field.category,
        case when field.kind = 'bool'
            then format(case when turned = 1 then 'old.%1$I is not true and new.%1$I' else 'old.%1$I and new.%1$I is not true' end, name)
            else format(case when turned = 1 then 'old.%1$I is null and new.%1$I is not null' else 'old.%1$I is not null and new.%1$I is null' end, name)
        end,
        switch.optional, audit.one_line(name) || case when turned = 1 then ' is set' else ' is taken back' end, name, turned
    from field
    join (select row_number() over () as rank, * from audit.switch_words()) as switch
        on field.words ~ switch.pattern and field.kind in ('bool', 'time') and switch.kind in ('any', field.kind)
    cross join lateral (values (1, switch.verb_on), (2, switch.verb_off)) as turn (turned, verb)
    where verb is not null
    union all
    select field.relation, 30, 'UPDATE', resource || '.rotated', field.category, moved, false, 'a new secret', name, 0
    from field
    where field.category in ('api_keys', 'credentials')
        and secret_why is not null and not is_foreign and moved is not null
        and field.words ~ '^((hashed|encrypted)_)?(key|token|secret|hash|api_key|access_key|client_secret|private_key|credential|credential_value|value)s?(_(hash|digest|value|encrypted|b64))?$|_b64$'
    union all
    select field.relation, case state.verb when 'invited' then 5 when 'accepted' then 8 else 40 end, state.operation, resource || '.' || state.verb, field.category,
        state.condition, false, state.why, name, 0
    from field
    cross join lateral audit.suggested_state_rules(field.relation, name, states, field.category = 'members') as state
    where field.words ~ E'^(\\w+_)?(status|state)$' and kind = 'text'
    union all
    select field.relation, 50, 'UPDATE', resource || '.role_changed', field.category, moved, false, 'a role', name, 0
    from field
    where field.words ~ '^((user|member|team|org|organization)_)?role(_id)?$|^is_(admin|superuser|staff|owner)$|^(access|permission)_level$'
        and field.category <> 'access' and not is_key and moved is not null
    union all
    select field.relation, 60, 'DELETE', resource || '.removed', field.category, null, false, 'a membership ends', null, 0
    from field
    where field.category = 'members' and number = 1 and resource !~ 'invite'
    union all
    select field.relation, 70, setting.operation, setting.action, setting.category, setting.condition, false, setting.why, name, 0
    from field
    cross join lateral audit.suggested_setting_rules(field.relation, name, states, resource, field.category) as setting
    where field.category = 'settings' and kind = 'text' and is_key
        and field.words ~ '^(name|key|param_name|config_type|(setting|option|config)_(name|key))$'
        and exists (select from field as value where value.relation = field.relation and value.words ~ '(^|_)(value|data|content)$')
$$;

comment on function audit.suggested_column_rules(jsonb) is
    'The rules that single columns give, before they are put together; field is the column, rank the order in which they are tried.';

create or replace function audit.suggested_rules(facts jsonb)
returns table (relation regclass, rank bigint, operation text, action text, category text, condition text, optional boolean, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with found as materialized (
        select found.*, row_number() over (
                order by found.rank, array_position('{INSERT,UPDATE,DELETE}', found.operation), found.turn, found.field collate "C", found.action collate "C",
                    audit.qualified_name(found.relation) collate "C"
            ) as number
        from audit.suggested_column_rules(facts) as found
        where found.action ~ E'^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$'
            and audit.condition_error(found.relation, found.operation, found.condition) is null
    ),
    together as (
        -- Two columns that say the same (is_staff, is_superuser) are one rule.
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
        -- What moves besides belongs to the table's own category. (By what it is not, so that columns may come and go.)
        select tables.relation, tables.resource || '.updated' as action, tables.category,
            format('to_jsonb(new) - %1$L::text[] is distinct from to_jsonb(old) - %1$L::text[]', array_agg(columns.name order by columns.number) filter (
                where columns.ignore_why is not null
                    or columns.name in (select found.field from found where found.relation = tables.relation and found.category <> tables.category)
            )) as condition
        from audit.facts_tables(facts) as tables
        join audit.facts_columns(facts) as columns on columns.relation = tables.relation
        where tables.relation in (
                select found.relation from found where found.operation = 'UPDATE' and found.category <> tables.category and found.rank < 70
            )
            -- (There is json that jsonb can't hold.)
            and not exists (
                select from pg_attribute where attrelid = tables.relation and atttypid in ('pg_catalog.json'::regtype, 'pg_catalog.json[]'::regtype)
            )
        group by tables.relation, tables.resource, tables.category
    )
    select first.relation, number, first.operation, first.action, first.category, first.condition, first.optional, first.why
    from first
    union all
    select rest.relation, 1000000, 'UPDATE', rest.action, rest.category, rest.condition, false,
        'so that a change of both gives an event of each category'
    from rest
    where audit.condition_error(rest.relation, 'UPDATE', rest.condition) is null
$$;

comment on function audit.suggested_rules(jsonb) is
    'The rules that are proposed, in the order in which they are to be added; each compiles. optional: as a comment only.';
