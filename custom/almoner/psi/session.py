"""Who the other sites are, once all keys are shown: what opens, seals and salts between two of them.

Each set-up message is signed by the certificate that the roster pins for its site. All of them make the transcript T;
every box and every salt is derived from T and the X25519 keys of the two sites. So a server that shows a site other
keys, other messages or another list than a site has sent gets boxes that do not open, and an error at that site.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from almoner.errors import ProtocolError
from almoner.protection.boxes import Address, box_key
from almoner.protection.hidden import Hidden
from almoner.protection.meeting import split_body
from almoner.protection.set_up import SET_UP_BYTES, JobKeys, PublicKeys, read_set_up, transcript
from almoner.psi.terms import PsiTerms

LEADER_LIST = b"almoner-psi-leader-list-1"
MEMBER_LIST = b"almoner-psi-member-list-1"
LEADER_LIST_AGAIN = b"almoner-psi-leader-list-again-1"
MARKS = b"almoner-psi-marks-1"
_SALT = b"almoner-psi-salt-1"


@dataclass(frozen=True, repr=False, eq=False)
class Session(Hidden):
    """One site among the others.

    Args:
        site: this one.
        keys: its private keys for the job.
        public_keys: of every site.
        transcript: T.
    """

    terms: PsiTerms
    site: str
    keys: JobKeys
    public_keys: dict[str, PublicKeys]
    transcript: bytes

    def seal(self, label: bytes, receiver: str, content: bytes) -> bytes:
        """Return a box for another site; once for each label and receiver."""
        return box_key(self.keys, self.public_keys[receiver], self.transcript, self._to(label, receiver)).seal(content)

    def unseal(self, label: bytes, sender: str, box: bytes) -> bytes:
        """Return what is in another site's box for this one.

        Raises:
            ProtocolError: it is not that site's, not for this one, of another kind or job, or was changed.
        """
        address = Address(label, 0, sender, self.site)
        return box_key(self.keys, self.public_keys[sender], self.transcript, address).unseal(box)

    def salt(self, member: str) -> bytes:
        """Return the 32 bytes with which leader and member salt identifiers for each other; no other site has them."""
        peer = member if self.site == self.terms.leader else self.terms.leader
        address = Address(_SALT, 0, self.terms.leader, member)
        return box_key(self.keys, self.public_keys[peer], self.transcript, address).raw

    def _to(self, label: bytes, receiver: str) -> Address:
        """Return the address of a box of this site."""
        return Address(label, 0, self.site, receiver)


def meet(
    terms: PsiTerms, site: str, keys: JobKeys, said: bytes, body: bytes, certificate_keys: dict[str, rsa.RSAPublicKey]
) -> Session:
    """Read the set-up messages of all sites.

    Args:
        said: this site's own message.
        body: the messages, in the order of `terms.sites`.
        certificate_keys: of the certificates that the roster pins.

    Raises:
        ProtocolError: one is malformed, not its site's or of another job; two show one key; or this site's own differs.
    """
    messages = split_body(body, dict.fromkeys(terms.sites, SET_UP_BYTES), "set-up messages")
    if messages[site] != said:
        raise ProtocolError(f"alignment: this is not what {site} said")
    public = {name: read_set_up(messages[name], terms, name, certificate_keys[name]) for name in terms.sites}
    shown = [key for found in public.values() for key in (found.exchange, found.signing)]
    if len(set(shown)) != len(shown):
        raise ProtocolError("set-up: one key is shown twice")
    return Session(terms, site, keys, public, transcript(terms, terms.sites, messages))
