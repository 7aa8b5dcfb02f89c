# What the init programs of virtual machines share: mounts, and steps.

mib=$((1024 * 1024))

/bin/busybox mkdir -p /proc /sys /dev /tmp /mnt /sbin
/bin/busybox --install -s /bin
/bin/busybox --install -s /sbin
export PATH=/bin:/sbin:/usr/bin NO_COLOR=1 HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup /sys/fs/cgroup

. /report.sh

# What the tests need to know of the kernel.
kernel() {
  uname -r
  grep -ow la57 /proc/cpuinfo | head -n 1
  cat /sys/kernel/mm/transparent_hugepage/enabled
}

# Has the kernel leave alone what the tests look at, as newer kernels do not: they
# make large pages of those of files, which a process loses meanwhile (khugepaged),
# and they sample all memory, which clears reference bits at any time (DAMON).
quiet_kernel() {
  echo 3600000 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs || return
  sampling=/sys/module/damon_stat/parameters/enabled
  [ ! -e $sampling ] || echo N >$sampling
}

# Two devices: one is for swap, the other one for files.
zram() {
  depmod && modprobe zram num_devices=2 || return
  mdev -s
  for device in zram0 zram1; do
    echo $((256 * mib)) >/sys/block/$device/disksize || return
  done
  mkswap /dev/zram0 && swapon /dev/zram0 &&
    mke2fs -b 4096 -F /dev/zram1 && mount -t ext4 /dev/zram1 /mnt
}
