"""The sections of a derivation, one file each: from the context to a `Section` of the document."""
