#!/bin/busybox sh
# The init program of the virtual machine: has CRIU dump a process incrementally while
# rcap observes it and pages it out, restores it, and has it verify its memory.

. /steps.sh

# begin FOLDER: starts a process, with no terminal and no file of the console.
begin() {
  folder=$1
  mkdir -p "$folder/images" || return
  setsid perl /tracked.pl "$folder" </dev/null >/dev/null 2>&1 &
  wait_for "$folder/done.1" || return
  pid=$(cat "$folder/pid") && echo "$pid"
}

# turn N: has it write some of its memory.
turn() {
  : >"$folder/begin.$1"
  wait_for "$folder/done.$1"
}

wait_for() {
  left=600
  until [ -e "$1" ]; do
    left=$((left - 1))
    [ $left -gt 0 ] || return 1
    sleep 0.1
  done
}

# daemon POLICY: caps it at a little less than it has, and observes it from now on.
daemon() {
  rss=$(awk '/^Rss:/ { print $2 }' "/proc/$pid/smaps_rollup")
  cat >"$folder/rcap.toml" <<END
[daemon]
sample_interval = "1s"
policy = "$1"

[[cap]]
name = "tracked"
select = ["pid:$pid"]
max_rss = "$((rss - 8192))K"
END
  chmod 600 "$folder/rcap.toml"
  rcap run --config "$folder/rcap.toml" --state-dir "$folder/state" \
    >"$folder/log" 2>&1 &
  daemon=$!
}

# worked: waits until the daemon has paged out, and then for more of its intervals.
worked() {
  left=300
  until [ "$(swapped)" -gt 512 ]; do
    left=$((left - 1))
    [ $left -gt 0 ] || { cat "$folder/log"; return 1; }
    sleep 0.2
  done
  sleep 4
  swapped
}

swapped() {
  awk '/^VmSwap:/ { print $2 }' "/proc/$pid/status"
}

# What is hot shows as referenced, and the rest as idle.
inspect() {
  rcap inspect "$pid" --observe 2s --json
}

pre_dump() {
  criu pre-dump --tree "$pid" --images-dir "$folder/images" --work-dir "$folder" \
    --track-mem --log-file pre-dump.log -v4 || fail pre-dump
}

# dump: dumps what was written since the pre-dump, and ends the process.
dump() {
  mkdir "$folder/final" &&
    criu dump --tree "$pid" --images-dir "$folder/final" --work-dir "$folder" \
      --prev-images-dir ../images --track-mem --log-file dump.log -v4 || fail dump
}

restore() {
  criu restore --images-dir "$folder/final" --work-dir "$folder" \
    --log-file restore.log --restore-detached -v4 || fail restore
}

fail() {
  tail -n 60 "$folder/$1.log" >&2
  return 1
}

# wrong: how many pages of the restored process have wrong contents.
wrong() {
  : >"$folder/begin.0"
  wait_for "$folder/wrong" && cat "$folder/wrong"
}

stop_daemon() {
  kill $daemon
  wait $daemon
  cat "$folder/log"
}

# What CRIU needs: it keeps in /run what it has found out about the kernel.
for_criu() {
  mkdir -p /run && mount -t tmpfs run /run && modprobe nf_tables &&
    ifconfig lo 127.0.0.1 up
}

without_large_pages() {
  echo never >/sys/kernel/mm/transparent_hugepage/enabled
}

step kernel kernel
step quiet_kernel quiet_kernel
step zram zram
step for_criu for_criu
# One written page of a large page would have CRIU dump all of it.
step without_large_pages without_large_pages

# rcap is first.
step rcap_begin begin /tmp/rcap
step rcap_inspect inspect
step rcap_daemon daemon coldest
step rcap_worked worked
step rcap_pre_dump pre_dump
step rcap_turn turn 2
sleep 8
step rcap_turn_again turn 3
sleep 7
step rcap_dump dump
step rcap_stop stop_daemon
step rcap_restore restore
step rcap_wrong wrong

# CRIU is first, and rcap comes and goes in between.
step criu_begin begin /tmp/criu
step criu_pre_dump pre_dump
step criu_turn turn 2
step criu_daemon daemon clock
step criu_worked worked
step criu_turn_again turn 3
step criu_stop stop_daemon
step criu_dump dump
step criu_restore restore
step criu_wrong wrong

step done true
reboot -f
