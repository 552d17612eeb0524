"""The only process that talks to Bitget: verdicts, jobs and status events. It holds no secret."""
