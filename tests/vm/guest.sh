#!/bin/busybox sh
# The init program of the virtual machine: makes swap and a file system of zram,
# starts a process with known hot and cold memory, runs rcap on it, and powers
# off.

. /steps.sh

# random_file PATH MIB: a file that is on its disk, so that its pages can be dropped.
random_file() {
  dd if=/dev/urandom of="$1" bs=1M count="$2" && sync
}

start_workload() {
  mkfifo /tmp/commands /tmp/answers || return
  perl /workload.pl </tmp/commands >/tmp/answers &
  pid=$!
  exec 3>/tmp/commands 4</tmp/answers
  read -r answer <&4 && echo "$answer"
}

# ask COMMAND...: has the workload carry out a command, and prints its answer.
ask() {
  echo "$*" >&3
  read -r answer <&4 && echo "$answer"
}

# scan MIB: takes that much from the workload.
scan() {
  rss=$(awk '/^Rss:/ { print $2 }' /proc/$pid/smaps_rollup)
  rcap scan "pid:$pid" --policy clock --cap "$((rss - $1 * 1024))K" --json
}

# A process in a cgroup below one that may not swap.
start_limited() {
  limited=/sys/fs/cgroup/limited
  echo +memory >/sys/fs/cgroup/cgroup.subtree_control &&
    mkdir -p $limited/inner && echo 0 >$limited/memory.swap.max || return
  sh -c "echo \$\$ >$limited/inner/cgroup.procs
    exec perl -e '\$x = q(x) x (32 << 20); print STDERR 1; sleep 1000'" 2>/tmp/ready &
  limited_pid=$!
  while [ ! -s /tmp/ready ]; do sleep 1; done
}

# A scan that does not meet its cap, by far.
scan_limited() {
  rcap scan "pid:$limited_pid" --cap 4M --json
  [ $? = 3 ]
}

allow_swap() {
  echo "$1" >$limited/memory.swap.max
}

swap_of_limited() {
  cat $limited/memory.swap.current
}

# A process that has a virtual machine: QEMU emulates AMD's extensions for that.
start_virtual_machine() {
  modprobe kvm_amd && mdev -s && mkfifo /tmp/machine_commands /tmp/machine_answers || return
  virtual_machine 32 0 </tmp/machine_commands >/tmp/machine_answers &
  machine=$!
  exec 5>/tmp/machine_commands 6</tmp/machine_answers
  read -r answer <&6 && echo create >&5 && read -r answer <&6 &&
    echo "$answer" && [ "$answer" = + ]
}

step kernel kernel
step quiet_kernel quiet_kernel
step zram zram
step cold_file random_file /mnt/cold 16
step hot_file random_file /mnt/hot 8
step start start_workload
step map_mixed ask anon mixed $((16 * mib))
step map_cold ask anon cold $((64 * mib))
step map_read ask anon read $((16 * mib))
step map_written ask anon written $((16 * mib))
step map_coldfile ask file coldfile /mnt/cold shared
step map_hotfile ask file hotfile /mnt/hot shared
step heat_mixed ask hot mixed 0 $((8 * mib))
step heat_read ask hot read
step heat_written ask write written
step heat_hotfile ask hot hotfile
step doctor rcap doctor --json
step inspect rcap inspect $pid --json
step scan scan 72
for region in mixed cold read written coldfile hotfile; do
  step resident_$region ask resident $region
done
step checksum ask checksum
step limited_start start_limited
step limited_inspect rcap inspect $limited_pid --json
step limited_scan scan_limited
step limited_allow allow_swap $((8 * mib))
step limited_scan_some scan_limited
step limited_swap swap_of_limited
if [ -e /bin/virtual_machine ]; then
  step virtual_machine start_virtual_machine
  for source in pte smaps; do
    step leave_$source rcap scan "pid:$machine" --excess 8M --observe 0 --json \
      --pagedata $source
  done
fi
step done true
reboot -f
