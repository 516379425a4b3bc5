"""What building needs around it: the C compiler, the processor, the cache of finished extensions."""
