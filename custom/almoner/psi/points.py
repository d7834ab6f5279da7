"""Lists of blinded entries: points of NIST P-256, made by `openmined-psi`, as one `bytes` value of public length.

An entry x becomes H(x)^k for the owner's key k, and H(x)^(k·k') once the other side has blinded it again. Whose turn
came first makes no difference, so equal entries end as equal points. Who does not know k cannot tell H(x)^k from a
random point (decisional Diffie-Hellman; H is a random oracle), whatever x he guesses.

The library's own messages state how many entries there are, and whether the other side may see which of them match.
Here a message is the points alone, one behind the other, and always as many as the job's cap.

Reference: C. Meadows, A more efficient cryptographic matchmaking protocol, IEEE S&P 1986; Huberman, Franklin & Hogg,
Enhancing privacy and trust in electronic communities, EC 1999.
"""

from collections.abc import Sequence

import private_set_intersection.python as openmined

from almoner.errors import ProtocolError
from almoner.protection.hidden import Hidden

POINT_BYTES = 33
"""A compressed point of P-256."""


def list_bytes(num_entries: int) -> int:
    """Return the length of a list of points."""
    return POINT_BYTES * num_entries


def split_points(data: bytes, num_entries: int, what: str) -> list[bytes]:
    """Cut a list into its points.

    Args:
        what: whose list it is, for the error.

    Raises:
        ProtocolError: not so many points, or one of them twice.
    """
    if len(data) != list_bytes(num_entries):
        raise ProtocolError(f"{what}: {len(data)} bytes, expected {list_bytes(num_entries)}")
    points = [data[start : start + POINT_BYTES] for start in range(0, len(data), POINT_BYTES)]
    if len(set(points)) != num_entries:
        raise ProtocolError(f"{what}: an entry is there twice")
    return points


class BlindingKey(Hidden):
    """A site's secret exponent for one comparison with one other site."""

    def __init__(self) -> None:
        self._blinder = openmined.client.CreateWithNewKey(True)
        self._again = openmined.server.CreateFromKey(self._blinder.GetPrivateKeyBytes(), True)

    def blind(self, entries: Sequence[str]) -> bytes:
        """Return the blinded entries, in the same order."""
        return b"".join(self._blinder.CreateRequest(list(entries)).encrypted_elements)

    def blind_again(self, points: Sequence[bytes], what: str) -> bytes:
        """Return another site's blinded entries, blinded with this key too, in the same order.

        Raises:
            ProtocolError: something in the list is no point of the curve.
        """
        request = openmined.Request(reveal_intersection=True, encrypted_elements=points)
        try:
            return b"".join(self._again.ProcessRequest(request).encrypted_elements)
        except RuntimeError:
            raise ProtocolError(f"{what}: an entry is no point of the curve") from None
