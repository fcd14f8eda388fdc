\set i :i + 1
\set n :client_id * :share + :i
delete from api_key where id = lpad(:n::text, 32, '0')::uuid;
