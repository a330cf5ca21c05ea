#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# bare_root.sh ARTIFACTS - prove the two commands of the README, `./dev run` and `./dev test`, in a
# Debian 12 root in which nothing is installed but Debian itself.
#
# The root is made by debootstrap from the mirror that this machine uses, and kept, with the packages
# that were downloaded, under the user's cache; each run has a copy of its own. Node.js is Debian's.
# apt, npm and pip get what this machine has configured for them. Needs root, and to be allowed to make
# namespaces: else it says so and ends with 77.
#
# What was printed lies in ARTIFACTS/bare-run.log and ARTIFACTS/bare-test.log; the last lines say
# packages and times.
set -eu
artifacts=$1
tree=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/peal/bookworm
work=$artifacts/bare-root
home=/srv/peal
port=3900 # of ./dev run: whatever else the machine serves stays where it is

skip() { echo "bare_root: skipped: $*"; exit 77; }
fail() { echo "bare_root: $*" >&2; exit 1; }

can_run() {
    [ "$(id -u)" = 0 ] || skip "it needs root"
    command -v apt-get >/dev/null || skip "it needs the mirror of a Debian machine"
    command -v debootstrap >/dev/null || skip "debootstrap is not installed"
    unshare --mount --pid --fork true 2>/dev/null || skip "namespaces are not allowed here"
}

# The machine's sources of Debian 12 itself: "SUITE URI" a line.
sources() {
    apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(CREATED_BY) $(REPO_URI)' |
        awk '$1 ~ /^bookworm/ && $2 == "main" && $3 == "Packages" { print $1, $4 }' | sort -u
}

make_base() {
    [ ! -e "$cache/base/.complete" ] || return 0
    mirror=$(sources | awk '$1 == "bookworm" { print $2; exit }')
    [ -n "$mirror" ] || skip "apt has no source of bookworm"
    mkdir -p "$cache/archives/partial"
    rm -rf "$cache/base"
    debootstrap --variant=minbase bookworm "$cache/base" "$mirror" >"$artifacts/bare-base.log" 2>&1 ||
        fail "debootstrap failed: $artifacts/bare-base.log"
    touch "$cache/base/.complete"
}

# copy FILE…: to the same place in the root; what is not there is left out.
copy() {
    for file in "$@"; do
        [ -e "$file" ] || continue
        mkdir -p "$work$(dirname "$file")"
        cp -rL "$file" "$work$(dirname "$file")/"
    done
}

# How to reach the mirror, npm's registry and Python's, as this machine does.
copy_configuration() {
    sources | while read -r suite uri; do
        echo "deb [trusted=yes] $uri $suite main"
    done > "$work/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(https?|Retries)' > "$work/etc/apt/apt.conf.d/90machine" || true
    copy /etc/resolv.conf /etc/hosts /etc/pip.conf /usr/local/share/ca-certificates \
        /etc/ssl/certs/ca-certificates.crt "$HOME/.config/pip"
    if command -v npm >/dev/null; then
        for file in "$(npm config get globalconfig)" "$(npm config get userconfig)"; do
            [ ! -f "$file" ] || cat "$file"
        done > "$work/srv/.npmrc"
    fi
    env | grep -iE '^(https?_proxy|no_proxy|npm_config_[^=]*|pip_[^=]*|[a-z_]*ca_certs|ssl_cert_file)=' |
        sed "s/'/'\\\\''/g; s/^\\([^=]*\\)=\\(.*\\)$/export \\1='\\2'/" > "$work/srv/environment" || true
    printenv NODE_EXTRA_CA_CERTS PIP_CERT SSL_CERT_FILE | while read -r file; do copy "$file"; done
}

copy_tree() {
    mkdir -p "$work$home"
    (cd "$tree" && git ls-files -coz --exclude-standard | tar c --null -T - --ignore-failed-read) |
        tar x -C "$work$home"
    git -C "$work$home" init -q
    git -C "$work$home" add -A
}

# The rest runs in namespaces of its own, from inside the copied root.
mount_all() {
    mount --make-rprivate /
    mount --bind "$work" "$work"
    mount -t proc proc "$work/proc"
    mount -t tmpfs -o mode=755 tmpfs "$work/dev"
    for node in null zero full random urandom tty; do
        touch "$work/dev/$node"
        mount --bind "/dev/$node" "$work/dev/$node"
    done
    ln -s /proc/self/fd "$work/dev/fd"
    mkdir "$work/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$work/dev/pts"
    ln -s pts/ptmx "$work/dev/ptmx"
    mkdir "$work/dev/shm"
    mount -t tmpfs -o mode=1777 tmpfs "$work/dev/shm"
    mkdir -p "$work/var/cache/apt/archives"
    mount --bind "$cache/archives" "$work/var/cache/apt/archives"
}

inside() {
    chroot "$work" /usr/bin/env -i HOME=/srv PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        sh -c ". /srv/environment; cd $home; $1"
}

measure() {
    packages=$(inside 'dpkg-query -W | wc -l')
    kilobytes=$(inside 'dpkg-query -W -f "\${Installed-Size}\n" | awk "{ sum += \$1 } END { print sum }"')
}

# told NAME SECONDS: what it has brought since the last call.
tell() {
    before=${packages:-0} before_kb=${kilobytes:-0}
    measure
    echo "bare_root: $1: $((packages - before)) packages more, $(((kilobytes - before_kb) / 1024)) MB," \
        "$2 s"
}

# ./dev run, until the request that it prints has been answered.
prove_run() {
    start=$(date +%s)
    inside "./dev run --listen-port $port --listen-internal-port $((port + 1))" \
        > "$artifacts/bare-run.log" 2>&1 &
    run=$!
    until grep -q "API key" "$artifacts/bare-run.log"; do
        kill -0 $run 2>/dev/null || { tail -n 40 "$artifacts/bare-run.log"; fail "./dev run ended"; }
        sleep 0.2
    done
    tell "./dev run shows its page" $(($(date +%s) - start))
    sed -n '/^  curl /,/^$/p' "$artifacts/bare-run.log" > "$work$home/post.sh"
    inside "sh post.sh" 2>/dev/null | grep '"seq":1' || fail "the request that it prints was not answered"
    inside "rm -f post.sh; kill \$(cat /proc/[0-9]*/stat | awk '\$2 == \"(peal)\" { print \$1 }')"
    wait $run || fail "./dev run ended with $?"
}

prove_test() {
    start=$(date +%s)
    code=0
    inside "./dev test" > "$artifacts/bare-test.log" 2>&1 || code=$?
    tell "./dev test" $(($(date +%s) - start))
    grep -E '^(FAIL|FAILED)' "$artifacts/bare-test.log" || true
    tail -n 1 "$artifacts/bare-test.log"
    cp -r "$work$home/artifacts" "$artifacts/bare-artifacts" 2>/dev/null || true
    return $code
}

if [ "${2-}" = inside ]; then
    mount_all
    measure
    prove_run
    prove_test
    exit 0
fi
can_run
make_base
rm -rf "$work" "$artifacts/bare-artifacts"
mkdir -p "$work"
cp -a "$cache/base/." "$work"
copy_configuration
copy_tree
code=0
unshare --mount --pid --fork --kill-child "$0" "$artifacts" inside || code=$?
rm -rf "$work"
exit $code
