#!/bin/sh
# Installs rcap below PREFIX, /usr/local by default, with its unit and configuration,
# or removes it again.
#
#   ./install.sh                  install
#   ./install.sh --uninstall      remove all but the configuration and what was learnt
#   ./install.sh --purge          remove these, too
#
# DESTDIR goes before every path; then nothing is started or stopped.
set -eu

PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
UNIT=/etc/systemd/system/rcap.service
here=$(cd "$(dirname "$0")" && pwd)

# What is installed below PREFIX, as the tarball has it.
files() { (cd "$here/tree" && find . -type f | sed 's/^\.\///' | sort); }

runs_systemd() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }

install_all() {
  files | while IFS= read -r file; do
    mode=644
    [ "$file" != bin/rcap ] || mode=755
    mkdir -p "$DESTDIR$PREFIX/$(dirname "$file")"
    # A program that runs cannot be overwritten, only replaced.
    install -m "$mode" "$here/tree/$file" "$DESTDIR$PREFIX/$file.new"
    mv -f "$DESTDIR$PREFIX/$file.new" "$DESTDIR$PREFIX/$file"
  done
  mkdir -p "$DESTDIR/etc/systemd/system"
  sed "s|^ExecStart=/usr/bin/rcap|ExecStart=$PREFIX/bin/rcap|" "$here/rcap.service" \
    >"$DESTDIR$UNIT"
  chmod 644 "$DESTDIR$UNIT"
  if [ ! -e "$DESTDIR/etc/rcap.toml" ]; then
    install -m 644 "$here/rcap.toml" "$DESTDIR/etc/rcap.toml"
  fi
  if runs_systemd; then
    systemctl daemon-reload
    systemctl enable rcap.service
    systemctl restart rcap.service
  fi
}

uninstall_all() {
  if runs_systemd; then
    systemctl disable --now rcap.service || true
  fi
  files | while IFS= read -r file; do rm -f "$DESTDIR$PREFIX/$file"; done
  rm -f "$DESTDIR$UNIT"
  for folder in share/doc/rcap share/rcap; do
    [ ! -d "$DESTDIR$PREFIX/$folder" ] ||
      find "$DESTDIR$PREFIX/$folder" -depth -type d -exec rmdir {} +
  done
  rm -rf "$DESTDIR/run/rcap"
  if runs_systemd; then systemctl daemon-reload; fi
}

case ${1:-} in
  "") install_all ;;
  --uninstall) uninstall_all ;;
  --purge)
    uninstall_all
    rm -rf "$DESTDIR/etc/rcap.toml" "$DESTDIR/etc/rcap.d" "$DESTDIR/var/lib/rcap"
    ;;
  *)
    echo "usage: install.sh [--uninstall | --purge]" >&2
    exit 2
    ;;
esac
