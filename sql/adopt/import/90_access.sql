-- The functions that store are called as audit_owner, whatever default privileges the caller has set.

grant execute on all functions in schema pg_temp to audit_owner;
