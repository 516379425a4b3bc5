"""The derivation: how the gradients of a network follow from its equations, built from the record of the calculus.

In the order of flow: ``view`` brings recorded trees into the form that is printed, ``matrix`` recognizes products of
matrices in them, ``notation`` and ``formula`` lay formulas out, ``sections`` put them into a ``document``, the
``render_*`` modules write it, and ``evaluate`` computes the very trees that were printed.
"""
