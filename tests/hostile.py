"""A schema that has an overload of whatever Postgres has: each says in the server's log that it was called."""

import re
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = Path(__file__).parents[1]
SCHEMA = "hostile"
PATH = f"{SCHEMA}, public, pg_catalog"
"""Named last, pg_catalog is searched last: what has the same arguments is the schema's, too."""
MARK = "hostile code was called: "

TYPES = (
    "boolean", '"char"', "name", "bigint", "smallint", "integer", "text", "oid", "regclass", "double precision", "numeric",
    "timestamptz", "date", "interval", "jsonb", "json", "bytea", "uuid", "inet", "cidr", "xid8", "pg_snapshot", "varchar",
    "text[]", "name[]", "bigint[]", "integer[]", "smallint[]", "oid[]", "jsonb[]", "record",
)  # fmt: skip
"""Types that our code has operators and functions of: of each pair of them an exact overload."""
OPERATOR_NAMES = (
    "=", "<>", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "||", "->", "->>", "#>", "#>>", "~", "~*", "!~", "!~*", "~~", "!~~", "@>", "<@", "?", "?|", "?&", "&&", "*=", "*<>", "^", "-", "#-",
)  # fmt: skip
PAIRED = ("boolean", '"char"', "name", "bigint", "integer", "text", "oid", "numeric", "jsonb", "text[]", "bigint[]")

TRAP = """
create function {schema}.was_called(what text) returns boolean language plpgsql as $$
begin
    raise log '{mark}%', what;
    return true;
end
$$;

-- Makes one; what can't be made (a type that has no values, a name that is there) is left out.
create function {schema}.make(statement text) returns integer language plpgsql as $$
begin
    execute statement;
    return 1;
exception
    when others then
        return 0;
end
$$;

create function {schema}.make_function(name text, arguments text, result text) returns integer language sql as $outer$
    select {schema}.make(format(
        $statement$create function {schema}.%I(%s) returns %s language plpgsql as $body$ begin raise log '{mark}%%', %L; %s end $body$$statement$,
        name, arguments, result, name || '(' || arguments || ')', case when result like 'SETOF %' or result like 'TABLE%' then 'return;' else 'return null;' end
    ))
$outer$;
"""

FUNCTIONS = """
select count({schema}.make_function(
        proname,
        pg_get_function_arguments(oid),
        case when proretset and pg_get_function_result(oid) like 'SETOF record%%' then 'SETOF record' else pg_get_function_result(oid) end
    ))
from pg_proc
where pronamespace = 'pg_catalog'::regnamespace and prokind in ('f', 'w') and proname = any (%(names)s::text[])
"""

AGGREGATES = """
select count(
    {schema}.make_function('step of ' || proname, concat_ws(', ', result, arguments), result)
    + {schema}.make(format('create aggregate {schema}.%%I(%%s) (sfunc = {schema}.%%I, stype = %%s)', proname, coalesce(nullif(arguments, ''), '*'), 'step of ' || proname, result))
)
from pg_proc
cross join lateral (select pg_get_function_arguments(oid) as arguments, pg_get_function_result(oid) as result) as known
where pronamespace = 'pg_catalog'::regnamespace and prokind = 'a' and proname = any (%(names)s::text[])
"""

OPERATORS = """
select count({schema}.make_function('of operator', concat_ws(', ', nullif(left_type, '-'), right_type), result)
    + {schema}.make(format(
        'create operator {schema}.%%s (function = {schema}."of operator"%%s, rightarg = %%s)',
        oprname,
        case when left_type = '-' then '' else ', leftarg = ' || left_type end,
        right_type
    )))
from pg_operator
cross join lateral (
    select oprleft::regtype::text as left_type, oprright::regtype::text as right_type, oprresult::regtype::text as result
) as known
where oprnamespace = 'pg_catalog'::regnamespace
"""

# An exact overload beats one that takes any type, and one that its arguments must be converted for.
PAIRS = """
select
    {schema}.make_function('of operator', one || ', ' || other, 'boolean'),
    (
        select count({schema}.make(format(
            'create operator {schema}.%%s (function = {schema}."of operator", leftarg = %%s, rightarg = %%s)', operator, one, other
        )))
        from unnest(%(operators)s::text[]) as operator
    )
from unnest(%(types)s::text[]) as one
cross join unnest(%(types)s::text[]) as other
"""

SINGLE = """
select count({schema}.make_function(name, type, 'text'))
from unnest(%(names)s::text[]) as name
cross join unnest(%(types)s::text[]) as type
"""

DOUBLE = """
select count({schema}.make_function(name, one || ', ' || other, 'text'))
from unnest(%(names)s::text[]) as name
cross join unnest(%(types)s::text[]) as one
cross join unnest(%(types)s::text[]) as other
"""

VARIADIC = """
select count({schema}.make_function(name, arguments, 'text'))
from unnest('{{format,concat,concat_ws,jsonb_build_object,json_build_object,jsonb_build_array,num_nonnulls,num_nulls}}'::text[]) as name
cross join generate_series(1, 10) as length
cross join lateral (
    select distinct arguments
    from (values ('text'), ('text, jsonb'), ('text, integer'), ('text, bigint'), ('text, json')) as known (repeated)
    cross join lateral (select array_to_string((string_to_array(repeat(repeated || ', ', 10), ', '))[:length], ', ')) as made (arguments)
) as made
"""

TYPE_NAMES = """
select count({schema}.make(format(
    'create domain {schema}.%%I as pg_catalog.%%I check ({schema}.was_called(%%L))', typname, typname, 'type ' || typname
)))
from pg_type
where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm', 'd') and typname = any (%(names)s::text[])
"""

RELATIONS = """
select count({schema}.make(format(
    'create view {schema}.%%I as select * from %%I.%%I where {schema}.was_called(%%L)', relname, nspname, relname, 'relation ' || relname
)))
from pg_class
join pg_namespace on pg_namespace.oid = relnamespace
where nspname in ('pg_catalog', 'audit') and relkind in ('r', 'v', 'p') and relname = any (%(names)s::text[]) and not relispartition
"""


def words_of_our_sources() -> list[str]:
    """Whatever could be a name in a statement of ours."""
    files = [*ROOT.glob("sql/**/*.sql"), *ROOT.glob("migrations/*.sql")]
    files += [
        file for part in ("cli", "worker", "web") for kind in ("sql", "py") for file in ROOT.glob(f"{part}/**/*.{kind}")
    ]
    return sorted({word for file in files for word in re.findall(r"\b[a-z_][a-z0-9_]+\b", file.read_text())})


def arm(connection: psycopg.Connection) -> None:
    """Make the schema, for everybody."""
    words = words_of_our_sources()
    parameters = {"names": words, "types": list(TYPES)}
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog, pg_temp; set local check_function_bodies = off")
        connection.execute(
            sql.SQL("create schema {}; grant usage on schema {} to public").format(*[sql.Identifier(SCHEMA)] * 2)
        )
        connection.execute(TRAP.format(schema=SCHEMA, mark=MARK))
        known = [
            name
            for (name,) in connection.execute(
                "select distinct proname::text from pg_proc where pronamespace = 'pg_catalog'::regnamespace and prokind = 'f' "
                "and proname = any (%s) and not exists (select from pg_type where typname = proname)",
                [words],
            )
        ]
        by_arguments = {
            number: [
                name
                for (name,) in connection.execute(
                    "select distinct proname::text from pg_proc where pronamespace = 'pg_catalog'::regnamespace and pronargs = %s "
                    "and proname = any (%s)",
                    [number, known],
                )
            ]
            for number in (1, 2)
        }
        for template, given in (
            (FUNCTIONS, parameters),
            (AGGREGATES, parameters),
            (OPERATORS, {}),
            (PAIRS, {"operators": list(OPERATOR_NAMES), "types": list(TYPES)}),
            (SINGLE, {"names": by_arguments[1], "types": list(TYPES)}),
            (DOUBLE, {"names": by_arguments[2], "types": list(PAIRED)}),
            (VARIADIC, {}),
            (TYPE_NAMES, parameters),
        ):
            connection.execute(template.replace("{schema}", SCHEMA).replace("{{", "{").replace("}}", "}"), given)
    arm_relations(connection)


def arm_relations(connection: psycopg.Connection) -> None:
    """Views named as the tables and views of Postgres and, once they are there, as ours."""
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog, pg_temp")
        connection.execute(RELATIONS.replace("{schema}", SCHEMA), {"names": words_of_our_sources()})


def point_at(connection: psycopg.Connection, users: list[str]) -> None:
    """Put the schema first in the path of the database, and of each role in it."""
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("alter database {} set search_path = {}").format(database, sql.SQL(PATH)))
    for user in users:
        connection.execute(
            sql.SQL("alter role {} in database {} set search_path = {}").format(
                sql.Identifier(user), database, sql.SQL(PATH)
            )
        )


class Log:
    """What the server has said of such calls since it was made."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.begin = file.stat().st_size

    def calls(self) -> list[str]:
        with self.file.open(errors="replace") as log:
            log.seek(self.begin)
            return [line.split(MARK, 1)[1].strip() for line in log if MARK in line]
