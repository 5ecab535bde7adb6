#!/usr/bin/env bash
# Run `make demo` and `make test` on a machine with nothing: a new Debian made by debootstrap. Needs root.
# Usage: fresh_machine.sh [OPTION...] [SUITE...]        suites: bookworm (default), trixie, ...
#   --folder DIR     where the systems are made (default: a temporary folder); about 6 GB each
#   --mirror URL     Debian's mirror (default: the first one in this machine's apt sources)
#   --bind PATH      a file or folder that is there at the same path, read-only; repeatable. For wheels and pip's
#                    configuration: pip's environment variables (PIP_*) and its configuration files are taken over
#   --out DIR        where the logs and the demo's video go (default: outputs/fresh_machine)
#   --only demo      leave out `make test`
#   --keep           leave the systems there
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
folder="" mirror="" out="$here/outputs/fresh_machine" keep="" targets=(demo test) binds=() suites=()
while [ $# -gt 0 ]; do
    case $1 in
        --folder) folder=$2; shift ;;
        --mirror) mirror=$2; shift ;;
        --bind) binds+=("$2"); shift ;;
        --out) out=$2; shift ;;
        --only) targets=("$2"); shift ;;
        --keep) keep=1 ;;
        -*) sed -n '2,/^set/{/^#/s/^# \?//p}' "$0" >&2; exit 2 ;;
        *) suites+=("$1") ;;
    esac
    shift
done
[ ${#suites[@]} -gt 0 ] || suites=(bookworm)
[ "$(id -u)" = 0 ] || { echo "fresh_machine.sh makes a system and needs root." >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap." >&2; exit 2; }

apt_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -nE 's#^(URIs:|deb)[[:space:]]+(\[[^]]*\][[:space:]]+)?([a-z]+://[^[:space:]]*/debian)/?([[:space:]].*)?$#\3#p' | sed -n 1p
}
mirror=${mirror:-$(apt_mirror || true)}
[ -n "$mirror" ] || { echo "No Debian mirror in apt's sources: give --mirror URL." >&2; exit 2; }
[ -n "$folder" ] || folder=$(mktemp -d)
mkdir -p "$folder" "$out"

enter() { # ROOT COMMAND: in the system, with pip's settings and nothing else of this machine's environment
    local root=$1 settings=()
    while IFS= read -r line; do settings+=("$line"); done < <(env | grep -E '^(PIP_[A-Z_]*|https?_proxy|no_proxy|SSL_CERT_FILE)=' || true)
    chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${settings[@]}" bash -c "$2"
}

take_over() { # ROOT PATH: the same file or folder, read-only
    if [ -d "$2" ]; then mkdir -p "$1$2"; else mkdir -p "$1$(dirname "$2")"; touch "$1$2"; fi
    mount --bind -o ro "$2" "$1$2"
    mounted+=("$1$2")
}

release() {
    local place
    for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do
        place=${mounted[i]}
        umount -l "$place" 2>/dev/null || true
    done
    mounted=()
}
mounted=()
trap release EXIT

step() { # NAME ROOT COMMAND: runs, logs, says how long it took
    local begin=$SECONDS code=0
    enter "$2" "$3" >"$out/$suite-$1.log" 2>&1 || code=$?
    echo "$suite: $1 $([ $code = 0 ] && echo succeeded || echo "FAILED with $code") after $((SECONDS - begin)) s ($out/$suite-$1.log)"
    return $code
}

failed=0
for suite in "${suites[@]}"; do
    root=$folder/$suite
    if [ ! -e "$root/.made" ]; then
        debootstrap --variant=minbase --include=python3-venv,make,git,ca-certificates "$suite" "$root" "$mirror" >"$out/$suite-debootstrap.log"
        touch "$root/.made"
    fi
    rm -rf "$root/root/magicanimate"
    bare=$(du -sxm "$root" | cut -f1)
    mount -t proc proc "$root/proc"; mounted+=("$root/proc")
    mount --bind /dev "$root/dev"; mount --make-private "$root/dev"; mounted+=("$root/dev")
    mount -t tmpfs tmpfs "$root/dev/shm" 2>/dev/null && mounted+=("$root/dev/shm")
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    for path in /etc/pip.conf "$HOME/.config/pip/pip.conf" "${PIP_CERT:-}" "${binds[@]}"; do
        [ -n "$path" ] && [ -e "$path" ] && take_over "$root" "$path"
    done
    git -c safe.directory='*' clone -q "file://$here" "$root/root/magicanimate"
    echo "$suite: $(enter "$root" 'python3 --version'), system of $bare MB"
    for target in "${targets[@]}"; do
        step "$target" "$root" "cd ~/magicanimate && make $target" || failed=1
    done
    echo "$suite: $(du -sm "$root/root/magicanimate/.venv" | cut -f1) MB in .venv, $(du -sm "$root/root" | cut -f1) MB in all"
    echo "$suite: without $(enter "$root" 'for lib in libGL.so.1 libEGL.so.1 libglib-2.0.so.0; do ldconfig -p | grep -q $lib || echo -n "$lib "; done')"
    grep -hE '(passed|failed).* in ' "$out/$suite-test.log" 2>/dev/null | tail -1 | sed "s/^/$suite: /" || true
    cp "$root/root/magicanimate/outputs/demo.mp4" "$out/$suite-demo.mp4" 2>/dev/null || true
    release
    [ -n "$keep" ] || rm -rf "$root"
done
exit $failed
