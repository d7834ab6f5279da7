"""Signs and checks a data officer's approval of a job. No file, no clock.

*Guarantee*: a paper that `verify_approval` accepts was signed by the holder of a certificate that counts (see
`verify_user`), of a user of the site's own organisation with a role that the site's policy names; it is about this site
and this job, and for no longer than the policy lets it be.

It does not protect against whoever holds the root key: that person can issue an officer's certificate.
"""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from almoner.admission.user_certificates import Trust, load_certificate, verify_user
from almoner.errors import PolicyViolation
from almoner.protection.signing import sign_with, verify_with
from almoner.schema.approval import Approval, SignedApproval
from almoner.schema.base import canonical_json, org_code
from almoner.schema.policy import ManualApproval

DAY_SECONDS = 86_400
CLOCK_SKEW_SECONDS = 300
"""How far the officer's clock may be ahead of the site's."""


def sign_approval(approval: Approval, key_pem: bytes, certificate_pem: bytes) -> SignedApproval:
    """Sign an approval with an officer's key.

    Raises:
        PolicyViolation: the key is no RSA key without a passphrase, or not the certificate's.
    """
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PolicyViolation("the officer's key cannot be read → give the client.key of the officer's kit") from None
    certificate = load_certificate(certificate_pem, "the officer's certificate")
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise PolicyViolation("the key is not that of the certificate → give both from the officer's kit")
    signature = sign_with(key, canonical_json(approval))
    return SignedApproval(
        schema_version=1, approval=approval, certificate_pem=certificate_pem.decode(), signature=signature.hex()
    )


def verify_approval(
    paper: SignedApproval, rule: ManualApproval, site: str, job_digest: str, trust: Trust, now_unix_seconds: float
) -> Approval:
    """Check who signed an approval, and that it is about this site and job.

    Expiry is the rule's affair, and so is the verdict: a denial is verified in the same way.

    Args:
        rule: what the site's policy asks of an approval.
        trust: by what the officer's certificate is judged.

    Raises:
        PolicyViolation: in one line without a remedy, which owes nothing to data.
    """
    approval = paper.approval
    officer = verify_user(paper.certificate_pem.encode(), "the officer's certificate", trust, now_unix_seconds)
    try:
        verify_with(officer.key, bytes.fromhex(paper.signature), canonical_json(approval))
    except InvalidSignature:
        raise PolicyViolation("its signature does not verify") from None
    if officer.name != approval.officer or officer.org != org_code(site) or officer.role not in rule.roles:
        wanted, found = "/".join(rule.roles), officer.role or "no user"
        raise PolicyViolation(f"it is signed by {found} of {officer.org}; {site} wants {wanted} of its own")
    if (approval.site, approval.job_digest) != (site, job_digest):
        raise PolicyViolation("it is about another site or job")
    if approval.expires_unix_seconds - approval.signed_unix_seconds > rule.max_days * DAY_SECONDS:
        raise PolicyViolation(f"it is for longer than {rule.max_days} days")
    if approval.signed_unix_seconds > now_unix_seconds + CLOCK_SKEW_SECONDS:
        raise PolicyViolation("it was signed in the future")
    return approval
