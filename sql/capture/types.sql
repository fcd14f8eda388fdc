-- What columns' types are made of, and how values of these are recorded: as JSON, or as text.

create or replace function audit_internal.parts_of_type(type_oid oid)
returns table (oid oid, in_text boolean)
language sql
stable
as $$
    with recursive part as (
        select type_oid as oid, false as in_text
        union
        select made_of.oid, part.in_text or pg_type.typtype in ('r', 'm')
        from part
        join pg_catalog.pg_type on pg_type.oid = part.oid
        cross join lateral (
            values (pg_type.typbasetype), (pg_type.typelem)
            union all
            select atttypid from pg_catalog.pg_attribute where attrelid = pg_type.typrelid and attnum > 0 and not attisdropped
            union all
            select rngsubtype from pg_catalog.pg_range where pg_type.oid in (rngtypid, rngmultitypid)
        ) as made_of (oid)
        where made_of.oid <> 0
    )
    select part.oid, part.in_text from part
$$;

comment on function audit_internal.parts_of_type(oid) is
    'A type and all that it is made of: its domain''s base type, its elements, its fields. in_text: of this part JSON has the text, since it is in a range.';

create or replace function audit_internal.is_made_by_superusers(type_oid oid)
returns boolean
language sql
stable
strict
as $$
    select pg_catalog.bool_and(pg_roles.rolsuper)
    from audit_internal.parts_of_type(type_oid) as part
    join pg_catalog.pg_type on pg_type.oid = part.oid
    join pg_catalog.pg_roles on pg_roles.oid = pg_type.typowner
    where part.oid >= 16384
$$;

comment on function audit_internal.is_made_by_superusers(oid) is 'Whether a type, and all that it is made of, belongs to superusers.';

create or replace function audit_internal.is_trusted_type(type_oid oid)
returns boolean
language sql
stable
as $$
    -- Those that Postgres is born with: see FirstNormalObjectId in access/transam.h. (So short that it costs no call.)
    select type_oid < 16384 or audit_internal.is_made_by_superusers(type_oid)
$$;

comment on function audit_internal.is_trusted_type(oid) is
    'Whether a type, and all that it is made of, belongs to superusers. The owner of any other can give it a cast to json or text, whose function would run as whoever records.';

create or replace function audit_internal.has_own_json_cast(type_oid oid)
returns boolean
language plpgsql
stable
as $$
begin
    -- (hstore's gives all of a value.)
    return exists (
        select
        from audit_internal.parts_of_type(type_oid) as part
        join pg_catalog.pg_cast on castsource = part.oid and casttarget = 'pg_catalog.json'::pg_catalog.regtype
        join pg_catalog.pg_type on pg_type.oid = part.oid
        where part.oid >= 16384 and pg_type.typname <> 'hstore'
    );
end
$$;

comment on function audit_internal.has_own_json_cast(oid) is
    'Whether a type, or what it is made of, has a cast to json. What that makes of a value may be less than the value, or an error: PostGIS'' knows no arcs, and cuts digits.';

create or replace function audit_internal.is_recorded_as_text(type_oid oid)
returns boolean
language sql
stable
as $$
    -- (Without a subquery: the planner sees through it, and columns of Postgres' own types cost no call.)
    select type_oid is null
        or type_oid >= 16384 and (audit_internal.is_made_by_superusers(type_oid) is not true or audit_internal.has_own_json_cast(type_oid))
$$;

comment on function audit_internal.is_recorded_as_text(oid) is
    'Whether values of a type are recorded as the text that Postgres writes them as, not as JSON: of one that is not a superuser''s, and of one that has a cast to json of its own. Of an unknown type (null) too.';

create or replace function audit_internal.has_json_in_it(type_oid oid)
returns boolean
language plpgsql
stable
as $$
begin
    return exists (select from audit_internal.parts_of_type(type_oid) as part where part.oid = 'pg_catalog.json'::pg_catalog.regtype);
end
$$;

comment on function audit_internal.has_json_in_it(oid) is 'Whether json is among what a type is made of.';

create or replace function audit_internal.holds_json(type_oid oid)
returns boolean
language sql
stable
as $$
    -- (Of Postgres' own types json and json[] alone.)
    select case
        when type_oid < 16384 then type_oid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.json[]'::pg_catalog.regtype)
        else audit_internal.has_json_in_it(type_oid)
    end
$$;

comment on function audit_internal.holds_json(oid) is 'Whether a value of a type may have in it what json takes and jsonb does not.';

create or replace function audit_internal.json_or_text(content json)
returns jsonb
language plpgsql
immutable
strict
as $$
declare
    written constant text := content::text;
begin
    -- Nearly all JSON is without what jsonb may refuse: an escaped character, a number with an exponent, great depth or length.
    if pg_catalog.octet_length(written) < 1000 and written !~ E'\\\\u|[0-9][eE]' then
        return written::jsonb;
    end if;
    begin
        return written::jsonb;
    exception
        when data_exception or program_limit_exceeded or statement_too_complex then
            return pg_catalog.to_jsonb(written);
    end;
end
$$;

comment on function audit_internal.json_or_text(json) is
    'A value of type json as jsonb; as a string, its text, where jsonb can''t hold it: an escaped null character or half of a pair, a number out of range, hundreds of levels.';

create or replace function audit_internal.live_columns(relation regclass)
returns table (name text, number smallint, type_oid oid, has_value boolean)
language sql
stable
as $$
    select attname::text, attnum, atttypid, attgenerated <> 'v'
    from pg_catalog.pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

comment on function audit_internal.live_columns(regclass) is
    'A table''s columns with their types; has_value: a trigger has a value of it, which it has not of a virtual generated column.';

create or replace function audit_internal.base_of_domain(domain_oid oid)
returns oid
language sql
stable
as $$
    with recursive base as (
        select domain_oid as oid
        union all
        select pg_type.typbasetype
        from base
        join pg_catalog.pg_type on pg_type.oid = base.oid
        where pg_type.typtype = 'd'
    )
    select base.oid
    from base
    join pg_catalog.pg_type on pg_type.oid = base.oid
    where pg_type.typtype <> 'd'
$$;

comment on function audit_internal.base_of_domain(oid) is 'The type that a domain is over, in the end.';

create or replace function audit_internal.base_type(type_oid oid)
returns oid
language sql
stable
as $$
    -- (Below this number no type is a domain: FirstGenbkiObjectId in access/transam.h.)
    select case when type_oid < 10000 then type_oid else audit_internal.base_of_domain(type_oid) end
$$;

comment on function audit_internal.base_type(oid) is 'Of a domain the type that it is over, else the type itself.';
