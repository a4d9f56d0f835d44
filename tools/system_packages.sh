#!/bin/sh
# Installs the Debian packages that the window and GL tests need, or names them where it cannot.
set -u
missing=""
command -v Xvfb >/dev/null 2>&1 || missing="$missing xvfb"
command -v xdotool >/dev/null 2>&1 || missing="$missing xdotool"
ldconfig -p 2>/dev/null | grep -q 'libEGL\.so\.1' || missing="$missing libegl1"
ldconfig -p 2>/dev/null | grep -q 'libGL\.so\.1' || missing="$missing libgl1"
# Mesa's drivers: a package of their own whose file names differ between releases, so ask for the folder.
ls /usr/lib/*/dri/swrast_dri.so /usr/lib/*/libgallium*.so >/dev/null 2>&1 ||
  ls /usr/lib/*/dri/*.so >/dev/null 2>&1 || missing="$missing libgl1-mesa-dri"
ldconfig -p 2>/dev/null | grep -q 'libusb-1\.0\.so\.0' || missing="$missing libusb-1.0-0"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing Debian packages:$missing"
  # shellcheck disable=SC2086
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
    >/dev/null 2>&1 && exit 0
  echo "these packages could not be installed:$missing" >&2
else
  echo "tests of the window and of GL will be skipped without these packages:$missing" >&2
  echo "install them, for example: sudo apt-get install$missing" >&2
fi
exit 0
