"""Training steps timed against PyTorch, JAX and NumPy: ``python -m benchmarks``."""
