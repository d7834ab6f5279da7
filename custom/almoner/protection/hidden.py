"""A base for objects that hold secrets."""

from typing import NoReturn


class Hidden:
    """Shows nothing of itself, and is neither copied nor written.

    *Guarantee*: no log line, error text or pickle made of such an object holds what is in it. Python leaves copies
    in freed memory all the same; who reads the process's memory reads the secret.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret: it is not copied or pickled")
