"""gRPC as all services speak it: mTLS, named callers, deadlines, one error family."""
