"""Wording of shape errors, the same everywhere in training."""


def expected(name, rule, received):
    """The rule for `name`, then what came."""
    return f"`{name}` must be {rule}. Received: {tuple(received)}."
