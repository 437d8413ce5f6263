"""The one training loop, and what surrounds it: schedule, checkpoint, run folder."""
