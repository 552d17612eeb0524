# Stands in for hashicorp/vault: OpenBao, which speaks its API and reads its configuration.
FROM strongroom-stand-in-debian
COPY bao /usr/bin/vault
