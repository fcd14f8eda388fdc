-- What the archive asks DuckDB. What a statement is given stands in variables: their values are known when it is
-- planned, so that files and row groups that can't hold what is asked for are not read.

-- name: settings
set timezone = 'UTC'

-- name: give
set variable given = $given

-- name: macros
-- A text as docs/seals.md writes it. (DuckDB writes the digits of \u000b in upper case; a backslash that is not its own is
-- doubled, and put aside meanwhile.)
create temp macro quoted(value) as
    case
        when value is null then 'null'
        when not regexp_matches(value, '[\x0b\x0e\x0f\x1a-\x1f]') then to_json(value)::varchar
        else replace(
            list_reduce(
                ['0b', '0e', '0f', '1a', '1b', '1c', '1d', '1e', '1f'],
                lambda text, digits: replace(text, '\u00' || upper(digits), '\u00' || digits),
                replace(to_json(value)::varchar, '\\', chr(1))
            ),
            chr(1), '\\'
        )
    end;
create temp macro rfc3339(moment) as strftime(moment at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ');
create temp macro commitment(salt, part) as sha256(unhex(coalesce(salt, '')) || encode(part));
create temp macro actor_part(event) as
    concat(
        '[', quoted(event.actor_id), ', ', quoted(event.actor_label), ', ', quoted(event.actor_ip), ', ',
        quoted(event.user_agent), ']'
    );
create temp macro rows_part(event) as
    concat(
        '[', quoted(event.resource_label), ', ', coalesce(event.before, 'null'), ', ', coalesce(event.after, 'null'), ']'
    );
create temp macro event_leaf(event, actor_commitment, rows_commitment) as
    sha256('\x00'::blob || encode(concat(
        case
            when event.node is not null then '["pgtrail event 3", '
            when event.imported_from is not null then '["pgtrail event 2", '
            else '["pgtrail event 1", '
        end,
        event.id, ', "', event.xid, '", ', quoted(rfc3339(event.occurred_at)), ', ',
        quoted(event.org_id), ', ', quoted(event.category), ', ', quoted(event.action), ', ', quoted(event.operation), ', ',
        quoted(event.table_name), ', ', quoted(event.resource_type), ', ', quoted(event.resource_id), ', ',
        quoted(event.request_id), ', ', quoted(event.reason), ', ', quoted(event.actor_type), ', ', quoted(event.db_role), ', ',
        quoted(event.client_addr), ', ', quoted(event.application_name), ', ', coalesce(event.changed, 'null'), ', ',
        case
            when event.node is not null then
                concat(
                    quoted(event.imported_from), ', ', quoted(event.node), ', ', event.node_id, ', "', event.node_xid, '", '
                )
            when event.imported_from is not null then quoted(event.imported_from) || ', '
            else ''
        end,
        '"', actor_commitment, '", "', rows_commitment, '"]'
    )));
-- The share of the organizations that one belongs to: the first eight digits of the SHA-256 of its id, modulo their number.
create temp macro part_of(org_id, parts) as ('0x' || sha256(coalesce(org_id, ''))[:8])::bigint % parts;
-- audit.glob(): in a pattern only * is special.
create temp macro expression(patterns) as
    '^(' || array_to_string(list_transform(patterns, lambda pattern: replace(regexp_escape(pattern), '\*', '.*')), '|') || ')$';
-- (A point is any character there, a line's end too.)
create temp macro is_like(value, patterns) as regexp_matches(value, expression(patterns), 's');
create temp macro is_like_in_any_case(value, patterns) as regexp_matches(value, expression(patterns), 'is');
-- An audit.filter, as far as the command line fills one.
create temp macro wanted(given) as given::struct(
    categories varchar[], actions varchar[], orgs varchar[], actors varchar[], since timestamptz, until timestamptz,
    resources varchar[], actor_id varchar, resource_id varchar, nodes varchar[]
);
-- audit.passes(), in its order.
create temp macro passes(event, wanted) as
    (wanted.since is null or event.occurred_at >= wanted.since)
    and (wanted.until is null or event.occurred_at < wanted.until)
    and (wanted.nodes is null or list_contains(wanted.nodes, coalesce(event.node, '-')))
    and (wanted.orgs is null or list_contains(wanted.orgs, event.org_id))
    and (wanted.categories is null or list_contains(wanted.categories, event.category))
    and (wanted.actions is null or is_like(event.action, wanted.actions))
    and (
        wanted.actors is null
        or is_like_in_any_case(event.actor_id, wanted.actors)
        or is_like_in_any_case(event.actor_label, wanted.actors)
    )
    and (
        wanted.resources is null
        or is_like_in_any_case(event.resource_id, wanted.resources)
        or is_like_in_any_case(event.resource_label, wanted.resources)
    )
    and (wanted.actor_id is null or event.actor_id = wanted.actor_id)
    and (wanted.resource_id is null or event.resource_id = wanted.resource_id)

-- name: moment
-- audit.moment(), in the time zone of this machine.
select case
    when regexp_full_match($description, '\s*\d+\s*[a-z]+\s*') then now() - try_cast($description as interval)
    when trim($description) = 'now' then now()
    when trim($description) = 'today' then current_date::timestamptz
    when trim($description) = 'yesterday' then (current_date - 1)::timestamptz
    when trim($description) = 'tomorrow' then (current_date + 1)::timestamptz
    else try_cast($description as timestamptz)
end

-- name: sort_events
create table event as
select *, part_of(org_id, getvariable('given').parts) as part
from read_csv(
    getvariable('given').spool,
    auto_detect = false,
    columns = getvariable('given').columns,
    header = true,
    delim = ',',
    quote = '"',
    escape = '"',
    nullstr = '\N',
    allow_quoted_nulls = false,
    new_line = '\n',
    -- (A row may go over many lines; where one begins only the first thread knows.)
    parallel = false,
    max_line_size = getvariable('given').longest,
    buffer_size = getvariable('given').buffer
)
order by part, org_id, occurred_at, id

-- name: write_part
-- Small groups of rows: those of an organization lie in few of them, and a store is asked for little.
copy (
    select * exclude (part)
    from event
    where part = getvariable('given').part
    order by org_id, occurred_at, id
) to $file (format parquet, compression zstd, row_group_size 20480)

-- name: write_table
copy (
    select *
    from read_csv(
        getvariable('given').spool,
        auto_detect = false,
        columns = getvariable('given').columns,
        header = true,
        delim = ',',
        quote = '"',
        escape = '"',
        nullstr = '\N',
        allow_quoted_nulls = false,
        new_line = '\n',
        parallel = false,
        max_line_size = getvariable('given').longest,
        buffer_size = getvariable('given').buffer
    )
) to $file (format parquet, compression zstd)

-- name: write_texts
-- What `pgtrail retention run` archives: a backslash before a cell that begins with one.
copy (
    select if(starts_with(columns(*), '\'), columns(*)[2:], columns(*))
    from read_csv(
        getvariable('given').spool,
        auto_detect = false,
        columns = getvariable('given').columns,
        header = true,
        delim = ',',
        quote = '"',
        escape = '"',
        nullstr = '\N',
        allow_quoted_nulls = false,
        new_line = '\n',
        parallel = false,
        max_line_size = getvariable('given').longest,
        buffer_size = getvariable('given').buffer
    )
) to $file (format parquet, compression zstd)

-- name: texts
select *
from read_parquet(getvariable('given').file)

-- name: known_seals
create temp table seal as
select number, from_json(json_extract(seal, '$[16]'), '["varchar"]') as personal
from read_json(
    getvariable('given').seals, format = 'newline_delimited', columns = {number: 'bigint', seal: 'varchar'}
)

-- name: leaves
select seal, id, leaf
from read_parquet(getvariable('given').leaves)

-- name: check_events
with sealed as (
    select leaf.id, leaf.leaf, seal.personal
    from read_parquet(getvariable('given').leaves) as leaf
    join seal on seal.number = leaf.seal
),
checked as (
    select
        event.id,
        event.occurred_at,
        part_of(event.org_id, getvariable('given').parts) = regexp_extract(event.filename, 'part=([0-9]+)/[^/]+$', 1)::bigint as is_filed,
        sealed.leaf as was,
        event_leaf(
            event,
            coalesce(erased_actor.commitment, commitment(actor_salt.salt, actor_part(event))),
            coalesce(erased_rows.commitment, commitment(rows_salt.salt, rows_part(event)))
        ) as is_now
    from read_parquet(getvariable('given').events, hive_partitioning = false, filename = true) as event
    left join sealed on sealed.id = event.id
    left join read_parquet(getvariable('given').salts) as actor_salt
        on actor_salt.kind = 'actor' and actor_salt.type = event.actor_type and actor_salt.id = event.actor_id
    left join read_parquet(getvariable('given').salts) as rows_salt
        on rows_salt.kind = 'resource' and rows_salt.type = event.resource_type and rows_salt.id = event.resource_id
        and list_contains(sealed.personal, event.resource_type)
    left join read_parquet(getvariable('given').erased) as erased_actor
        on erased_actor.event_id = event.id and erased_actor.part = 'actor'
    left join read_parquet(getvariable('given').erased) as erased_rows
        on erased_rows.event_id = event.id and erased_rows.part = 'rows'
),
judged as (
    select
        id,
        case
            when was is null then 'it is in no seal'
            when was <> is_now then 'it was changed'
            -- (Where nobody who asks for its time or its organization would find it.)
            when occurred_at < getvariable('given').begins or occurred_at >= getvariable('given').ends
                or not is_filed then 'it is in the wrong file'
        end as problem
    from checked
)
select id, problem
from judged
where problem is not null

-- name: count_events
select count(*), count(distinct id)
from read_parquet(getvariable('given').events, hive_partitioning = false)

-- name: repeated_events
select id
from read_parquet(getvariable('given').events, hive_partitioning = false)
group by id
having count(*) > 1
order by id

-- name: newest
select * exclude (occurred_at), rfc3339(occurred_at) as time
from read_parquet(getvariable('given').events, hive_partitioning = false, union_by_name = true) as event
where passes(event, wanted(getvariable('given').wanted))
order by occurred_at desc, id desc
limit getvariable('given').most

-- name: oldest_first
select * exclude (occurred_at), rfc3339(occurred_at) as time
from read_parquet(getvariable('given').events, hive_partitioning = false, union_by_name = true) as event
where passes(event, wanted(getvariable('given').wanted))
order by occurred_at, id

-- name: count
select count(*)
from read_parquet(getvariable('given').events, hive_partitioning = false, union_by_name = true) as event
where passes(event, wanted(getvariable('given').wanted))
