"""What every Strongroom service shares. Nothing here knows Vault, an exchange or REST."""
