# Throwaway PostgreSQL clusters for tests and benchmarks; to be sourced by bash.
#
#   postgres_start fsync=off max_connections=300
#   trap postgres_stop EXIT
#   psql "$POSTGRES_URL"
#
# The cluster lives in a new folder, listens on a Unix socket there and nowhere
# else, and is reached as its superuser without a password by whoever may enter
# the folder: the user who started it, and root.

source "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

POSTGRES_URL=   # of the cluster's superuser; set by postgres_start
POSTGRES_DIR=   # everything the cluster owns
POSTGRES_LEAST=15

# postgres_bin prints the folder of the newest PostgreSQL that is new enough.
postgres_bin() {
  local dir version
  for dir in $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin 2>/dev/null | sort -rV) \
    "$(pg_config --bindir 2>/dev/null || true)"; do
    [[ -x $dir/initdb && -x $dir/pg_ctl ]] || continue
    version=$("$dir/postgres" --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
    if ((version >= POSTGRES_LEAST)); then
      echo "$dir"
      return
    fi
  done
  return 1
}

# postgres_as runs a command as a user PostgreSQL agrees to run as: not root.
postgres_as() {
  if ((EUID != 0)); then
    "$@"
  elif id postgres >/dev/null 2>&1; then
    runuser -u postgres -- "$@"
  else
    runuser -u nobody -- "$@"
  fi
}

# postgres_start starts a cluster with the settings given as name=value, and
# sets POSTGRES_URL.
postgres_start() {
  local bin setting
  bin=$(postgres_bin) || { apt_need initdb=postgresql && bin=$(postgres_bin); } || {
    echo "found no PostgreSQL $POSTGRES_LEAST or newer" >&2
    return 1
  }
  POSTGRES_DIR=$(mktemp -d /tmp/stele-postgres.XXXXXX)
  POSTGRES_BIN=$bin
  if ((EUID == 0)); then
    chown "$(postgres_as id -u)" "$POSTGRES_DIR"
  fi
  (
    cd "$POSTGRES_DIR"
    postgres_as "$bin/initdb" -D "$POSTGRES_DIR/data" -U postgres -A trust \
      -E UTF8 --locale=C --no-sync >"$POSTGRES_DIR/initdb.log"
    for setting in listen_addresses= "unix_socket_directories=$POSTGRES_DIR" "$@"; do
      echo "${setting%%=*} = '${setting#*=}'"
    done >>"$POSTGRES_DIR/data/postgresql.conf"
    postgres_as "$bin/pg_ctl" -D "$POSTGRES_DIR/data" -l "$POSTGRES_DIR/server.log" -w start >/dev/null
  ) || {
    cat "$POSTGRES_DIR"/*.log >&2
    return 1
  }
  POSTGRES_URL="postgres://postgres@/postgres?host=$POSTGRES_DIR"
}

# postgres_stop stops the cluster and removes it. It does nothing if there is
# none.
postgres_stop() {
  [[ -n $POSTGRES_DIR ]] || return 0
  (cd / && postgres_as "$POSTGRES_BIN/pg_ctl" -D "$POSTGRES_DIR/data" -m immediate -w stop >/dev/null 2>&1) || true
  rm -rf "$POSTGRES_DIR"
  POSTGRES_DIR=
}
