#!/bin/sh
# What the tests need beside Python: a Chromium, nginx, PgBouncer, Valgrind, and from npm axe-core, pg and Medusa's
# migrations. What can't be had is said, and looked for again the next time; the tests that need it say that they were skipped, and where
# PGTRAIL_TEST_ALL is set they fail (but for node and its pg, which stay a convenience).
set -u
venv=$1
log="$venv/install.log"
has_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome \
    || ls -d "$HOME"/.cache/ms-playwright/chromium-*; } >/dev/null 2>&1
has_nginx() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v nginx; } >/dev/null 2>&1
has_valgrind() { command -v valgrind; } >/dev/null 2>&1
has_pgbouncer() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v pgbouncer; } >/dev/null 2>&1

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # (Debian starts a server that is installed: not on a machine where somebody only wants to run the tests.)
    wanted=$(has_chromium || echo chromium
        [ -z "${PGTRAIL_TEST_ALL-}" ] || { has_nginx || echo nginx-light; has_pgbouncer || echo pgbouncer; has_valgrind || echo valgrind; })
    if [ -n "$wanted" ]; then
        echo "installing" $wanted "…"
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update && apt-get install --yes --no-install-recommends $wanted; } >"$log" 2>&1 </dev/null
    fi
fi
has_chromium || "$venv/bin/python" -m playwright install chromium >>"$log" 2>&1
if [ ! -s "$venv/axe.min.js" ]; then
    folder=$(mktemp -d)
    npm pack --silent --pack-destination "$folder" axe-core@4.14.1 >/dev/null 2>&1 \
        && tar -xzOf "$folder"/axe-core-*.tgz package/axe.min.js >"$venv/axe.min.js"
    rm -rf "$folder"
fi
# (Where node is, and only there, node-postgres itself is tested.)
if command -v node >/dev/null && [ ! -d "$venv/node/node_modules/pg" ]; then
    npm install --silent --no-audit --no-fund --prefix "$venv/node" pg@8.23.1 >>"$log" 2>&1
fi

if [ ! -d "$venv/medusa" ]; then
    folder=$(mktemp -d)
    for module in user auth api-key customer rbac settings sales-channel pricing promotion; do
        mkdir -p "$folder/$module" \
            && npm pack --silent --pack-destination "$folder" "@medusajs/$module@2.21.2" >/dev/null 2>&1 \
            && tar -xzf "$folder/medusajs-$module-2.21.2.tgz" -C "$folder/$module" package/dist/migrations \
            && rm "$folder/medusajs-$module-2.21.2.tgz" || { rm -rf "$folder"; break; }
    done
    [ ! -d "$folder" ] || mv "$folder" "$venv/medusa"
fi

missing=0
has_chromium || { missing=1; echo "no chromium could be installed ($log): the page is not tested in a browser" >&2; }
has_nginx || { missing=1; echo "nginx is not installed: the worker and the page are not tested with it" >&2; }
has_valgrind || { missing=1; echo "valgrind is not installed: what a write costs is not counted" >&2; }
has_pgbouncer || { missing=1; echo "pgbouncer is not installed: actors and the doctor are not tested behind it" >&2; }
[ -s "$venv/axe.min.js" ] || { missing=1; echo "axe-core could not be got with npm: accessibility is not tested" >&2; }
[ -d "$venv/medusa" ] || { missing=1; echo "Medusa's packages could not be got with npm: suggestions are not tested on them" >&2; }
exit $missing
