"""The text of a program: C, NumPy and LaTeX."""
