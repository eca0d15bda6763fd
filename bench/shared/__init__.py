"""What the drivers share. Not a driver itself: scripts/bench.sh runs the files of bench/ alone."""
