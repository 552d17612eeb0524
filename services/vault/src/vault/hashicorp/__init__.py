"""Vault and OpenBao behind the port of `vault.store`. Only this package knows their paths, statuses and words."""
