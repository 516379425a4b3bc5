"""The derivation: how the gradients of a network follow from its equations, built from the record of the calculus.

In the order of flow: ``view`` brings recorded trees into the form that is printed, ``matrix`` recognizes products of
matrices in them, ``notation`` and ``formula`` lay formulas out, ``sections`` put them into a ``document``, the
``render_*`` modules write it, and ``evaluate`` computes the very trees that were printed. ``verify`` compares them: every
element of a small network, against differences of the cost (``exact``); a sample of a large one, against differences of the
equations that read what is moved (``sampled``), with values from a forward pass or, where that is too long, drawn (``drawn``).
"""
