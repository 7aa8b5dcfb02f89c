#!/bin/busybox sh
# The init program of the virtual machine of `bench:auto --vm`: runs all workloads at once,
# each in a cgroup of its own, without anything that saves memory, under rcap, and under a
# loop on memory.reclaim; samples what each has. /settings.sh says which workloads, how much
# faster all times pass, and how long to settle and to measure, in seconds.

. /steps.sh
. /settings.sh

cgroups=/sys/fs/cgroup/bench
records=/tmp/records

prepare() {
  echo +memory +io >/sys/fs/cgroup/cgroup.subtree_control || return
  mkdir -p $cgroups $records && echo +memory +io >$cgroups/cgroup.subtree_control || return
  # Counted are pages that were asked for, in pages of one size.
  echo 0 >/proc/sys/vm/page-cluster &&
    echo never >/sys/kernel/mm/transparent_hugepage/enabled || return
  cat /sys/kernel/mm/lru_gen/enabled
}

# One after the other, since those that run take time from those that start.
start_workloads() {
  pids=
  for workload in $workloads; do
    mkdir -p $cgroups/$workload && : >$records/$workload || return
    sh -c "echo \$\$ >$cgroups/$workload/cgroup.procs; $(value_of command $workload)" \
      >/dev/null 2>&1 &
    pids="$pids $!"
    driver=$(value_of driver $workload)
    if [ -n "$driver" ]; then
      until [ -S /tmp/socket ]; do sleep 0.2; done
      sh -c "$driver" >/dev/null 2>&1 &
      pids="$pids $!"
    fi
    left=600
    until [ "$(word $workload 1)" = 1 ]; do
      left=$((left - 1))
      [ $left -gt 0 ] || { echo "$workload does not start" >&2; return 1; }
      sleep 0.2
    done
    echo "$(uptime_seconds) $workload"
  done
}

stop_workloads() {
  kill -9 $pids
  wait $pids
  for workload in $workloads; do
    echo 1 >$cgroups/$workload/cgroup.kill
    until rmdir $cgroups/$workload 2>/dev/null; do sleep 0.1; done
  done
  rm -f /tmp/socket
}

# value_of KIND NAME: a setting of a workload.
value_of() {
  eval "echo \"\$$1_$2\""
}

# word NAME INDEX: a number that a workload records.
word() {
  od -A n -t u8 -j $(($2 * 8)) -N 8 $records/$1 | tr -d ' '
}

# The operations that a workload has done, in all of its processes.
operations() {
  sum=0
  index=0
  while count=$(word $1 $index) && [ -n "$count" ]; do
    sum=$((sum + count))
    index=$((index + record_words))
  done
  echo $sum
}

# counters WHEN: the major faults and operations of all workloads so far.
counters() {
  for workload in $workloads; do
    faults=$(awk '$1 == "pgmajfault" { print $2 }' $cgroups/$workload/memory.stat)
    echo "$1 $workload $faults $(operations $workload)"
  done
}

# measure SAVER: what the workloads have, a line a second and a workload.
measure() {
  sleep $settle
  busy=$(busy_of $1)
  counters begin
  begun=$(uptime_seconds)
  for second in $(seq $measure); do
    sleep 1
    for workload in $workloads; do
      read -r bytes <$cgroups/$workload/memory.current
      echo "size $workload $bytes"
    done
  done
  counters end
  echo "seconds $(awk "BEGIN { print $(uptime_seconds) - $begun }")"
  echo "saver $(($(busy_of $1) - busy))"
}

# The clock ticks that a process has used so far.
busy_of() {
  [ "$1" = none ] && echo 0 || awk '{ print $14 + $15 }' /proc/$1/stat
}

uncapped() {
  measure none
}

auto() {
  {
    printf '[daemon]\nsample_interval = "10s"\nreport_interval = "10s"\n'
    for workload in $workloads; do
      printf '[[cap]]\nname = "%s"\nselect = ["cgroup:/bench/%s"]\nidle = "auto"\n' $workload $workload
    done
  } >/rcap.toml
  RCAP_HURRY=$faster rcap run --config /rcap.toml --state-dir /run/rcap \
    --learnt-dir /tmp/learnt >/tmp/log 2>&1 &
  daemon=$!
  measure $daemon
  rcap stat 1 1 --state-dir /run/rcap >&2
  kill $daemon
  wait $daemon
  cat /tmp/log >&2
}

# pressure THRESHOLD: the loop on memory.reclaim.
pressure() {
  folders=
  for workload in $workloads; do folders="$folders $cgroups/$workload"; done
  perl /pressure_reclaim.pl $faster $1 $folders &
  loop=$!
  measure $loop
  kill $loop
  wait $loop
  return 0
}

# contest NAME COMMAND...: with workloads that nothing has touched yet.
contest() {
  contestant=$1
  shift
  step start_$contestant start_workloads
  step $contestant "$@"
  step stop_$contestant stop_workloads
}

step kernel kernel
step quiet_kernel quiet_kernel
step zram zram
step prepare prepare
contest uncapped uncapped
contest auto auto
for threshold in $thresholds; do
  contest pressure_$threshold pressure $threshold
done
step done true
reboot -f
