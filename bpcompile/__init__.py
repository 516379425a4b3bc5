"""bpcompile: symbolic networks compiled to dependency-free C, with every gradient derived from one rule."""
