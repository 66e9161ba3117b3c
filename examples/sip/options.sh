#!/bin/sh
# Asks kamailio at ADDRESS by OPTIONS whether it lives. Exit status 0 when it answers with 200.
set -eu
address=$ADDRESS
id=$(cat /proc/sys/kernel/random/uuid)
request="OPTIONS sip:$address:5060 SIP/2.0
Via: SIP/2.0/TCP $address:5061;branch=z9hG4bK-$id
Max-Forwards: 1
From: <sip:health@$address>;tag=$id
To: <sip:$address>
Call-ID: $id
CSeq: 1 OPTIONS
Content-Length: 0

"
# The first line of what comes; then the connection may go.
answer=$({ printf '%s\n' "$request" | sed 's/$/\r/'; sleep 2; } | timeout 3 nc "$address" 5060 | head -n 1)
case $answer in "SIP/2.0 200 "*) exit 0 ;; esac
echo "OPTIONS: ${answer:-no answer}" >&2
exit 1
