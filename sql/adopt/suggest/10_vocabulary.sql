-- The vocabulary by which suggest classifies tables and columns: general words, no application's names.
-- Names are compared as words: lower case, an underscore between two, the last one in the singular (audit_internal.table_word()).

-- How suggest classifies a table by its words, from the beginning of one of them on, in this order: `left out` with
-- the reason; `log` and `short-lived`: left out, too, if its columns look so; `known`: what one row is called (null: as the
-- table) and the category.
create function pg_temp.table_vocabulary()
returns table (kind text, pattern text, resource text, category text, why text)
language sql
immutable
as $$
    values
        -- Left out: tables that no person decides about, or that are records already.
        ('left out', '(migration|schema_version|schema_history|schema_info|schema_migration|alembic_version|database_?change_?log(_lock)?|internal_metadata|content_type|goose_db_version)(_|$)', null, null,
            'bookkeeping of the schema: it says what the software did, not what a person did'),
        ('short-lived', '(session|verification|challenge)$', null, null,
            'sessions and one-time codes: short-lived, made by the software'),
        ('left out', '(session_token|refresh_token|password_reset|password_reset_token|password_reset_request|reset_token|magic_link|login_code|device_authorization|recovery_code|authorization_code|auth_code|oauth_code|access_grant|oauth2?_grant|oauth2?_provider_grant|nonce|assertion|one_time_password|verification_code|email_verification|email_confirmation|captcha|id_token|sso_grant)$', null, null,
            'sessions and one-time codes: short-lived, made by the software'),
        ('left out', '(log|audit|audit_log|audit_trail|history|trail|error|trace|span|outbox|inbox|telemetry_report)$|logs?_(?!(level|setting|config|destination|sink|forwarder|drain|policy))', null, null,
            'a log: its rows are records already, written once'),
        -- If their columns confirm it: pg_temp.is_log().
        ('log', '(event|activity|activities|revision|mail|message|notification|delivery|observation|comparison)$', null, null,
            'a log: its rows are records already, written once'),
        -- (What is measured, and when to raise an alarm, is a decision.)
        ('left out', '(usage|metric|statistic|stat|spend|daily|hourly|counter|rollup|heartbeat|health_check|score)(_(?!([a-z_]+_)?(config|configuration|setting|limit|quota|budget|alert|threshold|policy|rule|definition|type|template|destination|integration)s?$)|$)', null, null,
            'measurements: the software counts here, at every request'),
        ('left out', '(job|queue|task|run|attempt|lock|lease|semaphore|cache|cron_job|schedule_run|execution|checkpoint|settlement|worker|process|funnel|state)$|^(cache|queue|job)_(?!.*(config|setting))', null, null,
            'work in progress: jobs, locks and caches come and go by themselves'),
        ('left out', '^(deleted|archived|deprecated|old|backup|bak|tmp|temp|retired)_', null, null,
            'copies of rows that are gone: their removal is recorded where it happens'),
        -- Known kinds: the last words of a table's name, what a row is called, the category.
        ('known', '(api_key|access_key|api_token|personal_access_token|access_token|service_token|verification_token|auth_token|apikey)$', 'key', 'api_keys', null),
        ('known', '(membership|member)$', 'member', 'members', null),
        ('known', '(invitation_link|invitation|invite)$', 'invite', 'members', null),
        ('known', '(user_group|group_member|user_role|role_user|role_assignment|user_permission|user_user_permission|user_team|team_user)$', null, 'members', null),
        ('known', '(role|permission|role_policy|role_inheritance|role_parent|group_permission|role_permission|access_group|acl|grant|policy|policy_attachment)$', null, 'access', null),
        ('known', '(team|group)$', null, 'teams', null),
        ('known', '(organization|organisation|tenant)$', null, 'organization', null),
        ('known', '^org$', 'organization', 'organization', null),
        ('known', '(budget|quota|spending_limit)$', null, 'budgets', null),
        ('known', '(guardrail|content_filter)$', null, 'guardrails', null),
        -- (Not a seating plan, nor a subscription to a newsletter.)
        ('known', '^plan$|(billing|subscription|pricing|price|rate|payment|organi[sz]ation|org|account|tenant|workspace|company|customer|user|team|membership|service)_plan$|^((billing|organi[sz]ation|org|account|tenant|workspace|company|customer|user|team|plan|stripe|payment)_)*subscription$', null, 'plan', null),
        ('known', '(data_policy|retention_policy|privacy_policy)$', null, 'data_policy', null),
        ('known', '(setting|settings|settings_store)$', 'settings', 'settings', null),
        ('known', '(config|conf|configuration|env|environment_variable|config_parameter|system_parameter|preference|config_override|feature_flag|feature|site)$', null, 'settings', null),
        ('known', '(profile)$', null, 'profile', null),
        ('known', '(user|account|person|customer|end_user|identity|verified_subject)$', null, 'users', null),
        ('known', '(password|password_hash)$', null, 'password', null),
        ('known', '(token|(otp|totp|hotp|u2f|webauthn|mfa|static|authenticator)_(device|factor|key|seed|method)|otp|totp)$', null, 'credentials', null),
        ('known', '(credential|secret|certificate|private_key|ssh_key|mfa_factor|webauthn_credential|passkey|ingestion_key|key_mapping|identity_provider|saml_provider|oauth2?_application|oauth2?_client)$', null, 'credentials', null)
$$;

-- How suggest classifies a column by its words and the kind of its type: not audited (`counter`: not where settings
-- are, nor with a default that is not 0; `perhaps a counter`: if the statistics show it). (What is secret:
-- audit_internal.looks_secret() and audit_internal.token_columns().)
create function pg_temp.column_vocabulary()
returns table (kind text, pattern text, types text[], why text)
language sql
immutable
as $$
    values
        ('ignore', '^(updated|modified|last_modified|last_updated|date_modified|changed|mtime)(_(at|on|time))?$|(^|_)updated_at$', '{time,number}'::text[], 'moves with every write'),
        ('ignore', '^last_(used|seen|login|active|activity|access|accessed|request|sign_in|processed|authenticated|checked|breach_check|polled|synced|sync|run|refreshed|health_check|heartbeat)(_(at|on|time|ip))?$|^(current_sign_in|remember_created|heartbeat)_(at|ip)$|^((latest|recent|most_recent|user)_)?(activity|seen|accessed|visited|online|pinged|polled|synced)_(at|on|time)$', '{time,number,text,other}', 'says when it was last used'),
        ('ignore', '^(resets|reset|budget_reset|next_run|next_reset)_at$', '{time}', 'moved by a timer'),
        ('ignore', '^((total|current|model|monthly|daily|team|user)_)?(spend|spent|usage|consumed)$|^raw_used$', '{number,json}', 'counts what is spent'),
        -- Not in a table of settings, and not with a default: that is a limit.
        ('counter', E'^(used|counter|hits|views|uses|turns|remaining|count)$|^(?!max_|min_|allowed_|default_)(\\w+_)?(hits|tokens_used|times_used|attempts|requests|failures)$'
            || '|(^|_)(view|hit|use|usage|visit|visitor|login|sign_in|download|request|call|failure|failed|error|access|click|like|comment|follower|following|message|token|read|unread|play|share|reply|post|vote|reaction|open|impression|invocation|execution)_count$'
            || '|^(num|number_of|total)_(views|hits|uses|logins|downloads|requests|calls|failures|errors|clicks|likes|comments|messages|reads|plays|votes)$', '{number}', 'a counter'),
        -- Only where the statistics show it.
        ('perhaps a counter', E'^(?!max_|min_|allowed_|default_)(\\w+_)?(count|counter|total|number|sequence|seq|serial|cursor|position|offset|balance)$|^(num|number_of|total)_', '{number}', 'a counter by its name, in a table of many updates and few rows'),
        ('ignore', '^(lock_version|row_version|optimistic_lock|search_vector|tsv|document_tsv)$', '{number,other}', 'kept by the software for itself')
$$;

-- The words of columns that label a row, the best first.
create function pg_temp.label_words(resource text, of_a_person boolean)
returns text[]
language sql
immutable
as $$
    select case
        when of_a_person then array[
            'email', 'user_email', 'email_address', 'username', 'user_name', 'login', 'display_name', 'full_name', 'name', 'alias',
            'user_alias', 'phone', 'company_name', 'last_name', 'first_name'
        ]
        else array[
            'name', 'title', 'label', 'display_name', 'display_title', 'alias',
            resource || '_alias', resource || '_name', resource || '_title', 'key_alias', 'key_name', 'param_name', 'model_name', 'policy_name',
            'email', 'username', 'slug', 'handle', 'key', 'code', 'codename', 'domain', 'hostname', 'identifier', 'config_type'
        ]
    end
$$;

-- Names of organizations, the surest first; wanted: in how many tables there must be a column of that name if
-- no table has that name; null: there must be such a table, and three tables with such a column.
create function pg_temp.org_words()
returns table (rank integer, word text, column_pattern text, wanted integer)
language sql
immutable
as $$
    values
        (1, 'organization', '^(org|organi[sz]ation)(_(id|uuid|key|slug))?$', 1),
        (2, 'tenant', '^tenant(_(id|uuid|key|slug))?$', 2),
        (3, 'workspace', '^workspace_(id|uuid)$', 2),
        (4, 'company', '^company_(id|uuid)$', 2),
        (5, 'account', '^account_(id|uuid)$', 3),
        -- An application's customers, if it has a table of them.
        (6, 'organizer', '^organi[sz]er_(id|uuid)$', null),
        (7, 'institution', '^institution_(id|uuid)$', null),
        (8, 'merchant', '^merchant_(id|uuid)$', null),
        (9, 'agency', '^agency_(id|uuid)$', null),
        (10, 'realm', '^realm_(id|uuid)$', null),
        (11, 'customer account', '^customer_account_(id|uuid)$', null)
$$;

-- The verb for a change of a row's status to a value.
create function pg_temp.state_words()
returns table (state text, verb text)
language sql
immutable
as $$
    values
        ('active', 'activated'), ('enabled', 'enabled'), ('accepted', 'accepted'), ('approved', 'approved'), ('confirmed', 'confirmed'),
        ('rejected', 'rejected'), ('denied', 'rejected'), ('declined', 'declined'), ('suspended', 'suspended'), ('disabled', 'disabled'),
        ('inactive', 'deactivated'), ('deactivated', 'deactivated'), ('blocked', 'blocked'), ('banned', 'banned'), ('locked', 'locked'),
        ('revoked', 'revoked'), ('archived', 'archived'), ('deleted', 'removed'), ('removed', 'removed'), ('expired', 'expired'),
        ('cancelled', 'canceled'), ('canceled', 'canceled'), ('published', 'published'), ('closed', 'closed')
$$;

-- The verb when a boolean becomes true or a time is set (verb_on), and for the reverse (verb_off; null: that is not an act of
-- its own); optional: proposed as a comment only.
create function pg_temp.switch_words()
returns table (pattern text, kind text, verb_on text, verb_off text, optional boolean)
language sql
immutable
as $$
    values
        -- Access, and soft deletion: always proposed as actions of their own.
        ('^(is_)?deleted(_at|_on)?$|^(discarded|removed)_at$', 'any', 'deleted', 'restored', false),
        ('^(is_)?revoked(_at|_on)?$', 'any', 'revoked', 'reinstated', false),
        ('^(is_)?(blocked|banned)(_at)?$', 'any', 'blocked', 'unblocked', false),
        ('^(is_)?(locked|suspended)(_at)?$', 'any', 'suspended', 'resumed', false),
        ('^(is_)?deactivated(_at)?$', 'any', 'deactivated', 'activated', false),
        ('^(is_)?active$', 'bool', 'activated', 'deactivated', false),
        ('^(is_)?accepted(_at)?$', 'any', 'accepted', null, false),
        ('^(is_)?(confirmed|verified)(_at)?$', 'any', 'confirmed', null, false),
        ('^(is_)?archived(_at)?$', 'any', 'archived', 'unarchived', false),
        -- A switch of something that is configured: `updated` would do.
        ('^(is_)?enabled$', 'bool', 'enabled', 'disabled', true),
        ('^(is_)?disabled(_at)?$', 'any', 'disabled', 'enabled', true)
$$;

-- Names of columns that say who changed a row last, the most readable first. (Who created it says nothing about later
-- changes.)
create function pg_temp.actor_words()
returns table (rank integer, pattern text)
language sql
immutable
as $$
    values
        (1, '^(last_)?(updated|modified|changed|edited|saved|altered|revised)_by_(email|username|user_name|name|login)$'),
        (2, '^(last_)?(updated|modified|changed|edited|saved|altered|revised)_by(_(id|uuid|uid|user|user_id))?$'),
        (3, '^(last_)?(modifier|editor|updater)(_(id|name|email|user|user_id))?$|^user_(updated|modified|changed|edited)$|^(updated|modified|changed)_user(_(id|name|email))?$|^modified_user_id$')
$$;

-- Prefixes of columns that hold somebody's current selection (`active_organization_id`), not what the row belongs to.
create function pg_temp.transient_prefixes()
returns text
language sql
immutable
as $$
    select '^(is_)?(active|current|currently|selected|default|last|latest|recent|preferred|previous|opened|viewed|impersonated|chosen)_'
$$;

-- The plural of an English word: the category of a table of that name.
create function pg_temp.plural(words text)
returns text
language sql
immutable
as $$
    select case
        when words ~ '(s|x|z|ch|sh)$' then words || case when words ~ '(settings|news|series)$' then '' else 'es' end
        when words ~ '[^aeiou]y$' then regexp_replace(words, 'y$', 'ies')
        else words || 's'
    end
$$;
