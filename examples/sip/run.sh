#!/bin/sh
# Runs kamailio, and stops it as a telephone exchange stops: no new calls, those that run may end, within GRACE seconds.
set -eu
database=/var/lib/kamailio/kamailio.sqlite
if [ ! -e "$database" ]; then
    rm -f "$database.new"
    cat /usr/share/kamailio/db_sqlite/standard-create.sql /usr/share/kamailio/db_sqlite/usrloc-create.sql |
        sqlite3 "$database.new"
    mv "$database.new" "$database"
fi
# Left by one that was killed.
rm -f /run/kamailio/kamailio_ctl

# 31 bits by chance.
run=$(($(od -A n -N 4 -t u4 /dev/urandom) & 0x7fffffff))
kamailio -DD -E -f /etc/kamailio/kamailio.cfg -A "RUN=$run" "$@" &
kamailio=$!

calls() {
    kamcmd dlg.stats_active | sed -n 's/^[[:space:]]*all:[[:space:]]*//p'
}

stop() {
    kamcmd pv.shvSet shut int 1 >/dev/null || true
    left=${GRACE:-30}
    while [ "$left" -gt 0 ] && [ "$(calls)" != 0 ]; do
        sleep 1
        left=$((left - 1))
    done
    echo "stops with $(calls) calls" >&2
    kill -TERM "$kamailio"
}
trap stop TERM INT

# `wait` ends by a signal too: what counts is the end of kamailio.
status=0
while kill -0 "$kamailio" 2>/dev/null; do
    status=0
    wait "$kamailio" || status=$?
done
exit "$status"
