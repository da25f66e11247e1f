# Installs what scripts need, where apt-get can; to be sourced by bash.
#
#   apt_need sqlite3 ssh-add=openssh-client
#
# Each word is a command, and after "=" its package if that has another name. What is
# there already costs nothing.

# apt_need installs the packages of the commands that are missing, all at once.
apt_need() {
  local word missing=() sudo=()
  for word in "$@"; do
    command -v "${word%%=*}" >/dev/null || missing+=("${word#*=}")
  done
  ((${#missing[@]} > 0)) || return 0
  ((EUID == 0)) || sudo=(sudo)
  if ! command -v apt-get >/dev/null || { ((EUID != 0)) && ! command -v sudo >/dev/null; }; then
    echo "missing: install ${missing[*]} by hand" >&2
    return 1
  fi
  echo "installing ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}
