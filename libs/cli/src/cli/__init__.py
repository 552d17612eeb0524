"""The strongroom command: embedded OpenBao and Valkey, keys and tokens for one machine, and the launcher.

Services never import this package; tests may.
"""
