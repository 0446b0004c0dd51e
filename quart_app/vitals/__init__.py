"""What the app tells of itself: counters, lines of log, and whether its loop turns."""
