"""What the compiler computes with, from freeze on: interned expressions, statements, subscripts, conditions, order."""
