"""mailpool beside other clients: messages per second, round trips, CPU and memory, in one run. See docs/speed.md."""
