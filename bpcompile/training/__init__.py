"""Training: data, optimizers as equations, schedules, the loop."""
