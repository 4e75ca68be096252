"""How many links a replica lets go when another has joined, so that each has its share; pure."""

from math import ceil


def excess(mine: int, total: int, replicas: int) -> int:
    """Links to be let go by who has `mine` of `total`; none where it is within a tenth of its share."""
    share = ceil(total / replicas)
    over = mine - share
    return over if over > share // 10 else 0


def share_of(joined: int, mine: int, replicas: int) -> int:
    """What `joined` of `replicas` get from who has `mine` of what nobody counts over all; each gives as much."""
    return mine * joined // replicas
