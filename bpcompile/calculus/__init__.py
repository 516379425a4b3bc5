"""What the gradient of a network is: freeze, normal form, stable forms, the one rule, the record of every step."""
