"""What pretraining is built of: arguments, schedule, checkpoints, log, and the loop. Importing it loads nothing."""
