# A study as a Slurm job: a Ray node on each of its nodes, and the study on the first. Scripts of script.py end in it:
#   source cluster/slurm/job.sh STUDY [options of the study]      with
#     inside=(...)       words that run a command in the container; () without
#     scratch=/tmp       a folder that each node has to itself
#     ray_options=(...)  more options of `ray start`
# Near the time limit (USR1) the study is interrupted and the job put back in the queue; it goes on where it stood.
set -euo pipefail
set -m  # each job a process group of its own, which takes a Ctrl-C; without, bash has what it starts ignore it

node=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/node.sh
say() { echo "== $(date -Is) $*"; }
nodes=$SLURM_JOB_NUM_NODES host=127.0.0.1 port=$((20000 + SLURM_JOB_ID % 12000))
if [ "$nodes" -gt 1 ]; then  # by its name a node often knows itself as 127.0.1.1; the others do not
    second=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 2p)
    seen=$(scontrol show node --oneliner "$second" | grep -o 'NodeAddr=[^ ]*')
    host=$("${inside[@]}" "$node" address "${seen#*=}")
fi
while (: <"/dev/tcp/$host/$port") 2>/dev/null; do port=$((port + 1)); done  # another program has it
folder=$scratch/be$SLURM_JOB_ID  # short: Ray's sockets lie in it, and a socket's path has at most 107 characters
export TMPDIR=$scratch RAY_ADDRESS=$host:$port RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

say "job $SLURM_JOB_ID, start ${SLURM_RESTART_COUNT:-0}, on $SLURM_JOB_NODELIST; Ray's head at $RAY_ADDRESS"
on_each=(srun --ntasks="$nodes" --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=0 --wait=0)
# shellcheck disable=SC2016  # these variables are of each node
"${on_each[@]}" "${inside[@]}" bash -c '
    node=$1 folder=$2; shift 2
    set -- --num-cpus="$SLURM_CPUS_ON_NODE" --temp-dir="$folder" "$@"
    [ "$SLURM_PROCID" = 0 ] && exec "$node" head "${RAY_ADDRESS%:*}" --port="${RAY_ADDRESS##*:}" "$@"
    exec "$node" worker "$RAY_ADDRESS" "$@"' - "$node" "$folder" "${ray_options[@]}" & ray=$!

when_all_have_joined='
import ray, sys, time
ray.init(logging_level="ERROR", log_to_driver=False)
wanted, end = int(sys.argv[1]), time.monotonic() + 180
while (there := sum(node["Alive"] for node in ray.nodes())) < wanted and time.monotonic() < end:
    time.sleep(1)
print(f"== {there} of {wanted} nodes have joined; those that come later are used as well")'
run_study() {
    until (: <"/dev/tcp/$host/$port") 2>/dev/null; do
        if ! kill -0 "$ray" 2>/dev/null || [ "$SECONDS" -gt 300 ]; then
            say "Ray has not started on $host:$port; what it said stands above"
            exit 1
        fi
        sleep 1
    done
    "${inside[@]}" python -c "$when_all_have_joined" "$nodes"
    exec "${inside[@]}" python "$@"
}
run_study "$@" & study=$!

requeue='' killer=''
interrupt() {
    say "$1"
    kill -INT -- "-$study" 2>/dev/null || true
    { sleep 60; kill -KILL -- "-$study"; } 2>/dev/null & killer=$!
    disown  # bash would tell of its end
}
trap 'requeue=yes; interrupt "the time limit is near: the study is interrupted, and goes on when the job starts again"' USR1
trap 'interrupt "the job is ended from outside: the study is interrupted"' TERM
while :; do
    status=0; wait "$study" || status=$?
    kill -0 "$study" 2>/dev/null || break  # else it was a signal that ended the waiting
done
[ -z "$killer" ] || kill -- "-$killer" 2>/dev/null || true

say "the study has ended with status $status; Ray is killed on all nodes, which srun calls errors"
kill "$ray" 2>/dev/null || true  # srun ends all of a step at once
wait "$ray" || true
timeout 20 "${on_each[@]}" rm -rf "$folder" || true
if [ -n "$requeue" ] && [ "$status" -ne 0 ]; then
    scontrol requeue "$SLURM_JOB_ID" || say "this site does not put jobs back: sbatch the same script again, it goes on"
fi
say "the job ends with status $status"
exit "$status"
