-- The tables of a batch's rows, with the settings of each.

-- The settings of a tracked table by its recorded name, else by its oid; of one that is not tracked, what audit.track()
-- would call it (created_at null).
create function pg_temp.import_settings(p_table text, p_oid oid)
returns audit.tracked_table
language plpgsql
stable
as $$
declare
    settings audit.tracked_table;
    parts text[];
    named regclass;
    category_name text;
begin
    -- (Not by to_regclass(), which wants a right to look into the schema, nor by parse_ident(), which raises errors of its own.)
    parts := array(
        select case when starts_with(part, '"') then replace(substr(part, 2, length(part) - 2), '""', '"') else lower(part collate "C") end
        from unnest(regexp_match(p_table, '^("(?:[^"]|"")+"|[^".]+)[.]("(?:[^"]|"")+"|[^".]+)$')) with ordinality as written (part, number)
        order by number
    );
    named := (
        select pg_class.oid::regclass
        from pg_class
        join pg_namespace on pg_namespace.oid = pg_class.relnamespace
        where pg_namespace.nspname = parts[1] and pg_class.relname = parts[2]
    );
    -- By its name; a table that was renamed since, by its oid.
    select * into settings from audit.tracked_table where relation = coalesce(named, p_oid::regclass);
    if settings.relation is not null then
        settings.name := audit_internal.qualified_name(settings.relation);
        return settings;
    end if;
    settings.relation := named;
    settings.name := p_table;
    settings.resource := coalesce(parts[2], p_table);
    category_name := trim(both '_' from regexp_replace(lower(settings.resource collate "C"), '[^a-z0-9]+', '_', 'g'));
    settings.category := case when category_name ~ '^[a-z][a-z0-9_]{0,62}$' then category_name else 'imported' end;
    settings.ignore := '{}';
    settings.secret := '{}';
    return settings;
end
$$;

-- The tables that a batch's rows tell of: what each is called now, its settings, and of tracked ones what maps rows to events.
create function pg_temp.plan_import(
    p_rows audit.imported_row[], p_dry_run boolean,
    out names jsonb, out tables audit.tracked_table[], out importers text[], out statements text[], out tracked text[]
)
language plpgsql
as $$
declare
    target record;
    importer text;
begin
    names := '{}';
    tables := '{}';
    tracked := '{}';
    for target in
        select known.settings, jsonb_object_agg(seen_table.table_name, (known.settings).name) as names
        from (
            -- One row for each table.
            select seen.table_name, max(seen.table_oid) as table_oid
            from unnest(p_rows) as seen
            group by seen.table_name
        ) as seen_table
        cross join lateral (select pg_temp.import_settings(seen_table.table_name, seen_table.table_oid)) as known (settings)
        group by known.settings
    loop
        names := names || target.names;
        tables := tables || target.settings;
        importer := null;
        if (target.settings).created_at is not null then
            tracked := tracked || (target.settings).name;
            importer := pg_temp.make_importer((target.settings).relation);
        elsif not p_dry_run then
            insert into audit.category (name, label, position)
            values ((target.settings).category, initcap(replace((target.settings).category, '_', ' ') collate "C"), 500)
            on conflict (name) do nothing;
        end if;
        statements := statements || case when importer is not null then pg_temp.import_statement(target.settings, importer) end;
        -- Without a statement, rows are mapped by the names in them.
        importers := importers || case when statements[cardinality(statements)] is not null then importer end;
    end loop;
end
$$;
