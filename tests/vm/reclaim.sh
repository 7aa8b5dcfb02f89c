#!/bin/busybox sh
# The init program of a virtual machine in which the kernel reclaims shared memory for
# rcap: four processes share a segment that none of them uses any more, as the backends
# of PostgreSQL share its buffers. Runs the daemon without and with `reclaim`.

. /steps.sh

cgroups=/sys/fs/cgroup

make_cgroups() {
  echo +memory >$cgroups/cgroup.subtree_control &&
    mkdir -p $cgroups/segment/inner $cgroups/plain/inner $cgroups/several/a $cgroups/several/b &&
    idle_in plain/inner && idle_in several/a && idle_in several/b
}

# idle_in CGROUP: a process there that does nothing.
idle_in() {
  sleep 100000 &
  echo $! >$cgroups/$1/cgroup.procs
}

start_segment() {
  mkfifo /tmp/commands || return
  sh -c "echo \$\$ >$cgroups/segment/cgroup.procs
    exec sharing segment $((64 * mib))" </tmp/commands >/tmp/pid &
  exec 3>/tmp/commands
  while [ ! -s /tmp/pid ]; do sleep 1; done
}

# config SELECTOR RECLAIM: writes a configuration with a cap below the segment's size.
config() {
  cat >/rcap.toml <<EOF
[daemon]
policy = "coldest"
sample_interval = "1s"
[[cap]]
name = "segment"
select = ["$1"]
max_rss = "40M"
reclaim = "$2"
EOF
}

# check SELECTOR: what a configuration is warned of.
check() {
  config "$1" auto && rcap check --config /rcap.toml --json
}

# run RECLAIM: the daemon, until it has met the cap or given up; its state then.
run() {
  config cgroup:/segment "$1"
  rcap run --config /rcap.toml --state-dir /run/rcap --log-level debug 2>/tmp/log &
  daemon=$!
  for second in $(seq 60); do
    sleep 2
    ! met && ! grep -q "cannot be brought under" /tmp/log || break
  done
  # It reports every five seconds.
  sleep 6
  rcap stat 1 1 --state-dir /run/rcap --json
  kill $daemon
  wait $daemon
  cat /tmp/log >&2
}

# Whether the segment has gone down to about the cap.
met() {
  [ "$(rss_of_segment | head -n 1)" -lt $((44 * 1024)) ]
}

# The resident kilobytes of each of the processes.
rss_of_segment() {
  for pid in $(cat $cgroups/segment/cgroup.procs); do
    awk '/^Rss:/ { print $2 }' /proc/$pid/smaps_rollup
  done
}

step kernel kernel
step quiet_kernel quiet_kernel
step zram zram
step cgroups make_cgroups
step start start_segment
step check check cgroup:/segment
step check_plain check cgroup:/plain/inner
step check_several check 'cgroup:/several/?'
step check_root check 'cgroup:*'
step check_unit check unit:nginx
step rss_before rss_of_segment
for reclaim in off auto; do
  step run_$reclaim run $reclaim
  step rss_$reclaim rss_of_segment
done
step done true
reboot -f
