#!/bin/sh
# Makes the secrets that are missing below DIR, one file each; what is there stays as it is. Every service is given its
# own folder and no other, so the files are readable by whoever is given the folder: services run as different users.
set -eu
dir=${1:?usage: make-secrets.sh DIR}
umask 022

random() {
  od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'
}

# keep FILE VALUE: in one step, so that a half-written secret is never seen.
keep() {
  if [ -s "$dir/$1" ]; then return; fi
  mkdir -p "$dir/$(dirname "$1")"
  printf '%s\n' "$2" >"$dir/$1.new"
  chmod 0444 "$dir/$1.new"
  mv "$dir/$1.new" "$dir/$1"
  echo "made $1"
}

keep feedgate/jwt_secret "$(random)"
keep feedgate/admin_api_key "$(random)"
keep feedgate/secrets_key "$(random)"
keep grafana/admin_password "$(random)"
keep timescaledb/password "$(random)"
keep feedgate/database_url "postgres://feedgate:$(cat "$dir/timescaledb/password")@timescaledb:5432/feedgate"
keep redis/requirepass.conf "requirepass $(random)"
keep feedgate/redis_url "redis://:$(cut -d' ' -f2 "$dir/redis/requirepass.conf")@redis:6379"
