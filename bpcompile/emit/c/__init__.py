"""The C text of a program."""
