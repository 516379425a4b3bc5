"""What a network is: indices, tensors, equations, the parser, layers, losses, networks, spec files."""
