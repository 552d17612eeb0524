#!/bin/sh
# Print what dev's processes are given by hand, made by `strongroom bootstrap identities --home HOME`:
#   deploy/k8s/dev/objects.sh HOME | kubectl apply -f -
set -eu
home=$1
umask 077

made() { # namespace, kind and name, files
  namespace=$1; shift
  kubectl create --dry-run=client --namespace "$namespace" --output yaml "$@"
  echo ---
}

seal=$home/authority/seal.key
[ -e "$seal" ] || head -c 32 /dev/urandom > "$seal"
made strongroom configmap jwks --from-file="$home/gateway/jwks.json"
made strongroom configmap tenants --from-file="$home/provision/tenants.json"
made strongroom secret generic vault-login --from-file="$home/vault/login.key" --from-file="$home/provision/login.pub"
for user in gateway verifier worker deliverer; do
  made strongroom secret generic "$user-redis" --from-file=password="$home/$user/redis.password"
done
made strongroom secret generic scaler-redis --from-literal=username=scaler --from-file=password="$home/redis/redis.password"
made redis secret generic users --from-file="$home/redis/users.acl"
made hashicorp-vault secret generic seal --from-file="$seal"
