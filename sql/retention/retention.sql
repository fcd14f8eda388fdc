-- Retention: for how long events are kept, and legal holds.

create or replace function audit.set_retention(p_keep interval, p_category text default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_keep is null or p_keep < interval '1 day' then
        raise exception using
            errcode = 'PT009',
            message = 'events are kept for at least a day',
            hint = 'Write 400d, 13 months, 7 years.';
    elsif p_keep > interval '1000 years' then
        raise exception using
            errcode = 'PT009',
            message = 'events are kept for at most a thousand years',
            hint = 'To keep them forever: pgtrail retention set forever';
    end if;
    if p_category is not null then
        perform audit_internal.check_category(p_category);
    end if;
    insert into audit.retention as known (category, keep)
    values (p_category, p_keep)
    on conflict (category) do update
    set keep = excluded.keep
    where known.keep <> excluded.keep;
end
$$;

comment on function audit.set_retention(interval, text) is
    'Events of a category (null: of all that have no setting of their own) may be dropped once they are older than p_keep. Nothing is dropped automatically: see pgtrail retention run. PT002, PT009.';

create or replace function audit.clear_retention(p_category text default null)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from audit.retention where category is not distinct from p_category
$$;

comment on function audit.clear_retention(text) is 'Reverts audit.set_retention().';

create or replace function audit.place_hold(
    p_name text, p_reason text, p_org text default null, p_since timestamptz default null, p_until timestamptz default null
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(p_reason, '') !~ E'\\S' or coalesce(p_name, '') !~ E'\\S' or length(p_name) > 200 then
        raise exception using
            errcode = 'PT009',
            message = 'a legal hold needs a name of at most 200 characters and a reason',
            hint = 'Give both: pgtrail retention hold NAME --reason …';
    elsif exists (select from audit.legal_hold where name = p_name) then
        raise exception using
            errcode = 'PT009',
            message = format('there is a legal hold "%s" already', p_name),
            hint = 'Choose another name, or release that one first.';
    elsif p_since >= p_until or p_org = '' then
        raise exception using
            errcode = 'PT009',
            message = 'this legal hold would cover nothing',
            hint = 'Give a time to begin with that is before the one to end with, and an organization that has a name.';
    end if;
    perform audit_internal.check_times(p_since, p_until);
    insert into audit.legal_hold (name, org_id, since, until, reason)
    values (p_name, p_org, p_since, p_until, p_reason);
end
$$;

comment on function audit.place_hold(text, text, text, timestamptz, timestamptz) is
    'Prevents events (of one organization, of a time, or all) from being dropped, however old, until audit.release_hold(). PT009.';

create or replace function audit.release_hold(p_name text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from audit.legal_hold where name = p_name;
    if not found then
        raise exception using
            errcode = 'PT002',
            message = format('there is no legal hold "%s"', p_name),
            hint = 'They are listed by: pgtrail status';
    end if;
end
$$;

comment on function audit.release_hold(text) is 'Ends a legal hold. PT002.';
