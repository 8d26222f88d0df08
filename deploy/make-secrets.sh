#!/bin/sh
# Creates every secret that the files in this directory use, once, in a directory that only its owner can enter:
#
#     sh deploy/make-secrets.sh DIRECTORY [HOST-OF-POSTGRESQL]
#
# Existing files stay unchanged, so run it again for the secrets of a newer version. As root, it makes each file belong to
# the user that reads it in a container.
set -eu
umask 077
directory=$1
host=${2:-db}
service=10001  # the user in deploy/Dockerfile
database=999   # the user in Debian's image of PostgreSQL
mkdir -p "$directory"
cd "$directory"

make() { # FILE OWNER COMMAND …: write the output of the command into the file
  [ -e "$1" ] && return
  file=$1 owner=$2
  shift 2
  "$@" > "$file.draft"
  chmod 0400 "$file.draft"
  if [ "$(id -u)" = 0 ]; then chown "$owner:$owner" "$file.draft"; fi
  mv "$file.draft" "$file"
}

url() { printf 'postgresql://tickets:%s@%s/tickets\n' "$(cat postgres_password)" "$host"; }

make postgres_password "$database" openssl rand -hex 32
make tickets_database_url "$service" url
make tickets_metrics_token "$service" openssl rand -hex 32
make outbox.key "$service" openssl rand 32
make token.pem "$service" openssl genpkey -algorithm ed25519
make set.pem "$service" openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:3072
# A ledger key is named by its time of creation. This one is for Kubernetes; elsewhere the service creates its own.
mkdir -p ledger
if [ "$(id -u)" = 0 ]; then chown "$service:$service" ledger; fi
if ! ls ledger/*.pem > /dev/null 2>&1; then
  make "ledger/$(date -u +%Y%m%dT%H%M%SZ).pem" "$service" openssl genpkey -algorithm ed25519
fi
