# HashiCorp Vault for compose: one node, Raft, TLS with the stack's own authority.
ui            = false
disable_mlock = true # the container has no IPC_LOCK; keep swap off or encrypted on the host
api_addr      = "https://hashicorp-vault:8200"
cluster_addr  = "https://hashicorp-vault:8201"

storage "raft" {
  path                   = "/state/raft"
  node_id                = "node-1"
  performance_multiplier = 1
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_cert_file   = "/run/strongroom/tls.pem"
  tls_key_file    = "/run/strongroom/tls.key"
  tls_min_version = "tls13"
}
