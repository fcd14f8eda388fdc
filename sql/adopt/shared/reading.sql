-- An application's table, read with the caller's rights: suggest reads a sample of its rows, import another tool's log.
-- Planning a query evaluates code that belongs to the table, with the reader's rights. So a table is resolved and locked first,
-- then checked for what it depends on, then read.

-- Whether no value of a type runs code of a role that is not a superuser: a domain's check, a range's functions.
create function pg_temp.is_harmless_type(type_oid oid)
returns boolean
language sql
stable
as $$
    -- An enum, or an array of one, is read, written and compared by Postgres' own functions, whoever owns it.
    select audit_internal.is_trusted_type(type_oid) or pg_type.typtype = 'e' or coalesce(element.typtype = 'e' and pg_type.typcategory = 'A', false)
    from pg_type
    left join pg_type as element on element.oid = pg_type.typelem
    where pg_type.oid = type_oid
$$;

-- Whether an object may be code of a role that is not a superuser: of a kind that holds no code, Postgres' own, or a
-- superuser's, it is not; anything else is.
create function pg_temp.is_foreign_object(class_id oid, object_id oid)
returns boolean
language sql
stable
as $$
    select case
        -- Built into Postgres: see FirstNormalObjectId in access/transam.h.
        when object_id < 16384 then false
        when class_id in (
            'pg_class'::regclass, 'pg_namespace'::regclass, 'pg_constraint'::regclass, 'pg_collation'::regclass,
            'pg_extension'::regclass, 'pg_am'::regclass, 'pg_ts_config'::regclass, 'pg_ts_dict'::regclass
        ) then false
        when class_id = 'pg_type'::regclass then not pg_temp.is_harmless_type(object_id)
        else not exists (
            select
            from pg_roles
            where rolsuper
                and pg_roles.oid in (
                    select proowner from pg_proc where class_id = 'pg_proc'::regclass and pg_proc.oid = object_id
                    union all
                    select oprowner from pg_operator where class_id = 'pg_operator'::regclass and pg_operator.oid = object_id
                    union all
                    select opcowner from pg_opclass where class_id = 'pg_opclass'::regclass and pg_opclass.oid = object_id
                    union all
                    select opfowner from pg_opfamily where class_id = 'pg_opfamily'::regclass and pg_opfamily.oid = object_id
                )
        )
    end
$$;

-- Which code of a role that is not a superuser would run with the rights of whoever reads a table: what an index, a partition key,
-- statistics, a check, a policy or the like of it or of its partitions needs. Null: nothing.
create function pg_temp.code_run_by_reading(relation regclass)
returns text
language sql
stable
as $$
    -- Everything that is evaluated when the table, its partitions and its children are read.
    with recursive tree (oid) as (
        select relation::oid
        union
        select inhrelid from tree join pg_inherits on inhparent = tree.oid
    ),
    part (class_id, object_id) as materialized (
        -- (Of the table itself: its partition key.)
        select 'pg_class'::regclass::oid, tree.oid from tree
        union all
        select 'pg_class'::regclass, indexrelid from tree join pg_index on indrelid = tree.oid
        union all
        select 'pg_statistic_ext'::regclass, pg_statistic_ext.oid from tree join pg_statistic_ext on stxrelid = tree.oid
        union all
        select 'pg_constraint'::regclass, pg_constraint.oid from tree join pg_constraint on conrelid = tree.oid and contype = 'c'
        union all
        -- A virtual generated column is computed by whoever reads it.
        select 'pg_attrdef'::regclass, pg_attrdef.oid
        from tree
        join pg_attrdef on adrelid = tree.oid
        join pg_attribute on attrelid = adrelid and attnum = adnum and attgenerated = 'v'
        union all
        select 'pg_policy'::regclass, pg_policy.oid from tree join pg_policy on polrelid = tree.oid and row_security_active(tree.oid)
    ),
    needed (class_id, object_id, needed_class, needed_object) as materialized (
        select part.class_id, part.object_id, refclassid, refobjid
        from part
        join pg_depend on classid = part.class_id and objid = part.object_id
        -- A column that is not read may have any type.
        where not (
            part.object_id in (select tree.oid from tree)
            and part.class_id = 'pg_class'::regclass
            and (
                objsubid > 0
                or (refclassid = 'pg_type'::regclass and refobjid = (select reloftype from pg_class where pg_class.oid = objid))
            )
        )
    ),
    found (what) as (
        select format('it has the %s', pg_describe_object('pg_class'::regclass, tree.oid, 0))
        from tree
        join pg_class on pg_class.oid = tree.oid
        where relkind not in ('r', 'p')
            or exists (select from pg_rewrite where ev_class = tree.oid and ev_type = '1')
        union all
        select format('%s needs %s', pg_describe_object(class_id, object_id, 0), pg_describe_object(needed_class, needed_object, 0))
        from needed
        where pg_temp.is_foreign_object(needed_class, needed_object)
            or (class_id = 'pg_policy'::regclass and needed_class = 'pg_class'::regclass and needed_object not in (select tree.oid from tree))
        union all
        -- Dependencies on built-in functions are not stored, and some of these execute a text.
        select format('%s looks beyond the row', pg_describe_object(class_id, object_id, 0))
        from part
        left join pg_policy on class_id = 'pg_policy'::regclass and pg_policy.oid = object_id
        left join pg_constraint on class_id = 'pg_constraint'::regclass and pg_constraint.oid = object_id
        left join pg_attrdef on class_id = 'pg_attrdef'::regclass and pg_attrdef.oid = object_id
        where audit_internal.reads_other_rows(
            concat_ws(' ', pg_get_expr(polqual, polrelid), pg_get_expr(conbin, conrelid), pg_get_expr(adbin, adrelid))
        )
        union all
        -- An operator runs its function.
        select format('%s needs %s', pg_describe_object(class_id, object_id, 0), pg_describe_object('pg_proc'::regclass, oprcode, 0))
        from needed
        join pg_operator on needed_class = 'pg_operator'::regclass and pg_operator.oid = needed_object
        where pg_temp.is_foreign_object('pg_proc'::regclass, oprcode)
    )
    select min(what) from found
$$;

-- What to read a table by. For a superuser or a member of audit_owner: a temporary view of it, with the table locked
-- against changes of its definition; look at pg_temp.code_run_by_reading() only then. PT034.
create function pg_temp.hold_for_reading(relation regclass)
returns text
language plpgsql
as $$
begin
    -- A role without special rights, which can't return to one that has them, reads it with a plain SELECT.
    if not pg_has_role('audit_owner', 'member') and not pg_has_role(session_user, 'audit_owner', 'member') then
        return format('(select source.xmin as "pgtrail xmin", source.* from %s as source)', audit_internal.qualified_name(relation));
    end if;
    -- Names are resolved here, once: a view refers to its tables by oid. It is parsed and not planned.
    execute format(
        'create temporary view "pgtrail reading" as select source.xmin as "pgtrail xmin", source.* from %s as source',
        audit_internal.qualified_name(relation)
    );
    -- Locked against changes until the end of the transaction, with its partitions. Writers don't wait.
    lock table pg_temp."pgtrail reading" in share update exclusive mode;
    if current_setting('transaction_isolation') <> 'read committed'
        or not exists (
            select
            from pg_depend
            join pg_rewrite on pg_rewrite.oid = objid
            where classid = 'pg_rewrite'::regclass
                and ev_class = 'pg_temp."pgtrail reading"'::regclass
                and refclassid = 'pg_class'::regclass
                and refobjid = relation
        )
    then
        raise exception using
            errcode = 'PT034',
            message = format('%s can''t be held while it is read', relation),
            hint = 'It was renamed at this moment, or the transaction is not read committed. Try again.';
    end if;
    return 'pg_temp."pgtrail reading"';
end
$$;

-- Ends pg_temp.hold_for_reading(); the lock stays until the end of the transaction.
create function pg_temp.release_source(source_name text)
returns void
language plpgsql
as $$
begin
    if source_name = 'pg_temp."pgtrail reading"' then
        drop view pg_temp."pgtrail reading";
    end if;
end
$$;
