# shellcheck shell=bash disable=SC2034
# What test/run and tools/demo have in common: the Debian packages, and how to build. Sourced, not run.

# Building, and running what was built.
BUILD_PACKAGES=(
  g++ cmake ninja-build ccache pkg-config
  libuv1-dev libcurl4-openssl-dev libnl-3-dev libnl-route-3-dev libc-ares-dev libyaml-cpp-dev libfmt-dev
  nlohmann-json3-dev libcli11-dev libpugixml-dev libssl-dev libseccomp-dev libudev-dev libgtest-dev libgmock-dev
  python3 nftables iproute2 udhcpc busybox openssl ca-certificates curl procps util-linux
)
# The clients that tests send through a proxy, and what makes the wall clock jump.
TEST_PACKAGES=(wget git proxychains4 netcat-openbsd openssh-client openssh-server faketime)
# The virtual machine of test/run lab, and what its root image is made with.
LAB_PACKAGES=(qemu-system-x86 mmdebstrap e2fsprogs)
# What test/lint calls.
LINT_PACKAGES=(clang-format clang-tidy-16)

# What runs; the unit tests are built with the sanitizers only.
PROGRAMS=(dongle-supervisor dongle-worker dongle-usb donglectl dongle-sim)

export CCACHE_SLOPPINESS=pch_defines,time_macros

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "needs root for $1: run it as root, or install sudo"
  fi
}

# Under sudo, what is built belongs to whoever called it.
as_caller() {
  if ((EUID == 0)) && [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
    sudo -H -u "$SUDO_USER" --preserve-env=CCACHE_SLOPPINESS -- "$@"
  else
    "$@"
  fi
}

is_installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

install_packages() {
  command -v dpkg-query >/dev/null || die "this isn't Debian: install the counterparts of these by hand: $*"
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    say "packages: all $# are here"
    return
  fi
  say "packages: installing ${missing[*]}"
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}" >/dev/null
}

# build PRESET [TARGET...]: into build/PRESET
build() {
  local preset=$1 target log
  local targets=()
  shift
  for target in "$@"; do targets+=(--target "$target"); done
  say "building $preset"
  log=$(mktemp)
  if as_caller cmake --preset "$preset" >"$log" 2>&1 && as_caller cmake --build --preset "$preset" "${targets[@]}" >"$log" 2>&1; then
    rm -f "$log"
    return
  fi
  tail -n 100 "$log" >&2
  rm -f "$log"
  die "the $preset build failed"
}
