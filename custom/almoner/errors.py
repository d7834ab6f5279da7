"""The one error tree of the package.

Every error that a user can cause or meet is an `AlmonerError` whose text is a complete, single-line
answer: what was wrong, where (file, field), and what to do. Programs map the whole tree to exit code 2.
"""


class AlmonerError(Exception):
    """Base of all errors whose text is fit to be shown to a user."""


class DocumentError(AlmonerError):
    """A YAML or JSON document is unreadable, malformed, or has a field that is not allowed."""


class PolicyViolation(AlmonerError):
    """A policy is looser than its floor, or a job breaks a rule of a policy."""


class CertificateRefused(PolicyViolation):
    """A user's certificate does not count: of another root, not valid at the time, or revoked."""


class BudgetExceeded(PolicyViolation):
    """A charge does not fit into what is left of a privacy account."""


class ProtocolError(AlmonerError):
    """A peer sent a message that the protocol does not allow in this state."""


class LedgerError(AlmonerError):
    """The privacy ledger is missing, damaged, locked, or was asked for an illegal transition."""


class ProvisioningError(AlmonerError):
    """A startup kit cannot be made, or is not the one that was signed."""


class DataError(AlmonerError):
    """A data set cannot be fetched, has the wrong digest, or breaks its declaration."""


class FederationError(AlmonerError):
    """The server or a site cannot be started, reached, or asked."""


class EvidenceError(AlmonerError):
    """A part of an evidence pack or of the transparency log is missing, damaged, unsigned, or contradicts another."""
