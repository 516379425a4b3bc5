"""What the command ``bpcompile`` does: the steps of each command, and how they are shown."""
