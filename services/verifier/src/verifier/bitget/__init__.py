"""How Bitget answers and what its answers mean. Nothing here knows Redis, gRPC or a secret."""
