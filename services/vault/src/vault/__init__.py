"""The vault service: the only process that may ask Vault to keep, use or destroy a credential."""
