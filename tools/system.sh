#!/usr/bin/env bash
# Install the system packages the tests use and that are missing; say so where that cannot be done, and go on.
set -euo pipefail

missing=()
command -v git >/dev/null || missing+=(git)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
[ ${#missing[@]} -eq 0 ] && exit 0

by_hand() {
  echo "make system: ${missing[*]} missing and $1. Tests that need them will not run; install them by hand." >&2
  exit 0
}
command -v apt-get >/dev/null || by_hand "there is no apt-get here"
[ "$(id -u)" -eq 0 ] || by_hand "this user is not root (try: sudo apt-get install ${missing[*]})"

echo "make system: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
options=(-y -q --no-install-recommends -o DPkg::Lock::Timeout=300)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists may be old, or absent in a bare image: ask again only when the first try fails.
apt-get install "${options[@]}" "${missing[@]}" >"$log" 2>&1 ||
  { apt-get update -q >"$log" 2>&1 && apt-get install "${options[@]}" "${missing[@]}" >>"$log" 2>&1; } ||
  { tail -n 20 "$log" >&2; by_hand "apt-get could not install them"; }
