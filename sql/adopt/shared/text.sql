-- The SQL that suggest and preset write: calls of audit.track() and audit.rule(), each argument on one line.

-- A text that is safe in a comment of SQL: what would end the line, or turn its direction, is written as \u and its number.
create function pg_temp.one_line(value text)
returns text
language sql
immutable
strict
as $$
    -- Control characters, line breaks of any kind, and those that change the direction of a text.
    select coalesce(
        string_agg(
            case when letter ~ E'[\\u0001-\\u001f\\u007f-\\u009f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]'
                then format(E'\\u%s', lpad(to_hex(ascii(letter)), 4, '0'))
                else letter
            end,
            '' order by number
        ),
        ''
    )
    from string_to_table(value, null) with ordinality as part (letter, number)
$$;

create function pg_temp.literal(value text)
returns text
language sql
immutable
strict
as $$
    select case
        when pg_temp.one_line(value) = value and strpos(value, E'\\') = 0 then quote_literal(value)
        else 'E''' || pg_temp.one_line(replace(replace(value, E'\\', E'\\\\'), '''', '''''')) || ''''
    end
$$;

create function pg_temp.track_call(
    relation regclass, resource text, category text, org text, label text, ignore text[], secret text[], reveal text[], personal boolean, actor text
)
returns text
language sql
stable
as $$
    select format(
        'select audit.track(%s, %s%s%s);',
        pg_temp.literal(audit_internal.qualified_name(relation)),
        pg_temp.literal(resource),
        ', ' || pg_temp.literal(category),
        string_agg(format(E',\n    %s => %s', argument, value), '' order by number)
    )
    from (values
        (1, 'org', pg_temp.literal(org)),
        (2, 'label', pg_temp.literal(label)),
        (3, 'ignore', pg_temp.literal(nullif(ignore, '{}')::text)),
        (4, 'secret', pg_temp.literal(nullif(secret, '{}')::text)),
        (5, 'reveal', pg_temp.literal(nullif(reveal, '{}')::text)),
        (6, 'personal', personal::text),
        (7, 'actor', pg_temp.literal(actor))
    ) as setting (number, argument, value)
    where value is not null
$$;

create function pg_temp.rule_call(relation regclass, action text, category text, operation text, condition text)
returns text
language sql
stable
as $$
    select format(
        'select audit.rule(%s, %s, %s, %s%s);',
        pg_temp.literal(audit_internal.qualified_name(relation)),
        pg_temp.literal(action),
        pg_temp.literal(category),
        pg_temp.literal(operation),
        E',\n    ' || pg_temp.literal(condition)
    )
$$;
