#!/bin/sh
# What the tests of the page need beside Python: a Chromium, and axe-core from npm. What can't be had is said, and the
# tests that need it say that they were skipped; where PGTRAIL_TEST_ALL is set they fail.
set -u
venv=$1
found() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! found >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing chromium …"
        { apt-get update && apt-get install --yes --no-install-recommends chromium; } >"$venv/chromium.log" 2>&1
    else
        "$venv/bin/python" -m playwright install chromium >"$venv/chromium.log" 2>&1
    fi
fi
found >/dev/null || ls -d "$HOME"/.cache/ms-playwright/chromium-* >/dev/null 2>&1 \
    || echo "no chromium could be installed ($venv/chromium.log): the page is not tested in a browser" >&2
if [ ! -s "$venv/axe.min.js" ]; then
    folder=$(mktemp -d)
    npm pack --silent --pack-destination "$folder" axe-core@4.14.1 >/dev/null 2>&1 \
        && tar -xzOf "$folder"/axe-core-*.tgz package/axe.min.js >"$venv/axe.min.js" \
        || echo "axe-core could not be got with npm: accessibility is not tested" >&2
    rm -rf "$folder"
fi
exit 0
