#!/usr/bin/env bash
# One node of a Ray cluster, that others notice to be lost within ten seconds:
#   cluster/node.sh head ADDRESS [options of ray start]       the head; ends when its Ray does
#   cluster/node.sh worker HEAD[:PORT] [options of ray start]  a worker; joins again whenever its Ray has ended, until it is ended
#   cluster/node.sh address OTHER                              print the address of this node that another one sees
set -euo pipefail

# Ray reads these when a node starts; the head decides by them who is lost: after three misses, one a second. Its own take a minute.
export RAY_health_check_initial_delay_ms=1000 RAY_health_check_period_ms=1000 \
       RAY_health_check_timeout_ms=2000 RAY_health_check_failure_threshold=3
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0 PYTHONUNBUFFERED=1
chmod -f 600 ~/.ray/auth_token || true  # Ray writes it as the umask says, which is for all on most machines

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }

own_address() {  # nothing is sent
    python -c 'import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
    way.connect((sys.argv[1], 9))
    print(way.getsockname()[0])' "$1"
}

[ $# -ge 2 ] || usage
kind=$1 address=$2; shift 2
case $kind in
head)
    # By itself Ray listens on every address, whatever it is told, but on macOS and Windows.
    case $address in 127.*|localhost) export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 ;; esac
    exec ray start --head --block --disable-usage-stats --node-ip-address "$address" --dashboard-host "$address" "$@" ;;
worker)
    case $address in *:*) ;; *) address=$address:6379 ;; esac
    ray=
    trap 'kill "$ray" 2>/dev/null || true; wait "$ray" || true; exit 0' TERM INT
    while :; do
        own=$(own_address "${address%:*}") || { sleep 3; continue; }  # the head may have no name yet
        ray start --block --disable-usage-stats --address "$address" --node-ip-address "$own" "$@" & ray=$!
        wait "$ray" || true
        echo "$(date -Is) Ray has ended on $own; it joins $address again in 3 seconds" >&2
        sleep 3
    done ;;
address)
    own_address "$address" ;;
*)
    usage ;;
esac
