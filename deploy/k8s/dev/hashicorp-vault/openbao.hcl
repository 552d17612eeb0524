# One node of dev's cluster; what differs between them is in the environment.
ui            = false
disable_mlock = true

storage "raft" {
  path = "/openbao/data"
  retry_join {
    leader_api_addr     = "https://vault-0.vault.hashicorp-vault.svc:8200"
    leader_ca_cert_file = "/openbao/tls/ca.crt"
  }
  retry_join {
    leader_api_addr     = "https://vault-1.vault.hashicorp-vault.svc:8200"
    leader_ca_cert_file = "/openbao/tls/ca.crt"
  }
  retry_join {
    leader_api_addr     = "https://vault-2.vault.hashicorp-vault.svc:8200"
    leader_ca_cert_file = "/openbao/tls/ca.crt"
  }
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_cert_file   = "/openbao/tls/tls.crt"
  tls_key_file    = "/openbao/tls/tls.key"
  tls_min_version = "tls13"
}

# A node that starts unseals itself: the key lies in a Secret.
seal "static" {
  current_key_id = "1"
  current_key    = "file:///openbao/seal/seal.key"
}

audit "file" "file" {
  options {
    file_path = "/openbao/data/audit.log"
    mode      = "0600"
  }
}
