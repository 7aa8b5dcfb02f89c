#!/bin/sh
# Runs in a virtual machine after every start: makes swap as the documentation says, at
# the first one, and reboots; shows what swap there is, and powers off, at the second one.

. /root/report.sh
export NO_COLOR=1

# The kernel's state of swap, and of the machine.
swaps() {
  cat /proc/sys/kernel/random/boot_id /proc/swaps /sys/block/zram0/comp_algorithm
}

if [ -e /root/rebooted ]; then
  step swaps_after swaps
  step doctor rcap doctor --json
  step done true
  sync
  systemctl poweroff --force
else
  touch /root/rebooted
  step documented sh -euxc "$(cat /root/documented.sh)"
  step swaps_before swaps
  sync
  systemctl reboot
fi
