#!/usr/bin/env bash
# Print the first Python 3.11, 3.12 or 3.13 that can make environments, or say in one sentence what is missing.
# Usage: find_python.sh [CANDIDATE...]
set -u

candidates=("$@")
[ ${#candidates[@]} -gt 0 ] || candidates=(python3 python3.11 python3.12 python3.13 python)

without_ensurepip=""
for candidate in "${candidates[@]}"; do
    # Asked to run, not only to exist: version managers put stand-ins on the path that refuse to start.
    "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 || continue
    if "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        echo "$candidate"
        exit 0
    fi
    without_ensurepip="$candidate"
done

if [ -n "$without_ensurepip" ]; then
    echo "$without_ensurepip cannot make environments: install its venv module" \
        "(Debian, Ubuntu: apt-get install python3-venv) and run make again." >&2
else
    echo "No Python 3.11, 3.12 or 3.13 found (tried: ${candidates[*]}):" \
        "install one, or name it with make PYTHON=/path/to/python3.12." >&2
fi
exit 1
