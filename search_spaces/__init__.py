"""Search spaces: one module each, with one function that returns a ``SearchSpace``. Copy one to vary it."""
