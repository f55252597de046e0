#!/usr/bin/env bash
# A Slurm of one node on this machine: partition `debug`, no GPU. Debian: apt-get install slurm-wlm munge.
#
#   eval "$(tests/test_tools/slurm.sh start DIR)"   starts it, its files in DIR (an empty folder), and sets SLURM_CONF
#   tests/test_tools/slurm.sh stop DIR              stops it
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/local/sbin
dir=$(realpath "${2:?usage: slurm.sh start|stop DIR}")

free_ports() {
  python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))'
}

start() {
  mkdir -p "$dir"/{state,spool}
  chmod 755 "$dir"
  local user host controller_port node_port
  user=$(id -un) host=$(hostname -s)
  read -r controller_port node_port < <(free_ports)
  # Slurm trusts a process whose name munge vouches for. It is our own munged, so it needs no rights; --force allows
  # folders that others can write, such as /tmp.
  head -c 1024 /dev/urandom >"$dir/munge.key"
  chmod 400 "$dir/munge.key"
  munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
    --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" >&2
  # No cgroups and no accounting: both need what a container lacks.
  cat >"$dir/slurm.conf" <<EOF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
SlurmctldPort=$controller_port
SlurmdPort=$node_port
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(env -u OMP_NUM_THREADS nproc) State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
  export SLURM_CONF=$dir/slurm.conf
  slurmctld >&2
  slurmd -N "$host" >&2
  for _ in $(seq 60); do
    if [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; then
      echo "export SLURM_CONF=$SLURM_CONF"
      return
    fi
    sleep 0.5
  done
  tail -n 20 "$dir"/*.log >&2
  exit 1
}

stop() {
  for name in slurmd slurmctld munged; do
    if [ -f "$dir/$name.pid" ]; then kill "$(cat "$dir/$name.pid")" 2>/dev/null || true; fi
  done
}

"$1"
