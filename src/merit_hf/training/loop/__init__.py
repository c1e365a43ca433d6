"""What all training shares: loop, checkpoints, resume, processes, schedule, log."""
