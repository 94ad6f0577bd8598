"""``mailpool demo``: a bad day at a provider, on this machine, and the proof that no message was lost."""
