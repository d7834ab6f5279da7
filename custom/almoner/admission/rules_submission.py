"""Rules about the submission: who signed it, when, and for which session."""

from datetime import UTC, datetime

from almoner.admission.approvals import CLOCK_SKEW_SECONDS, DAY_SECONDS
from almoner.admission.rule import UNSET, Question, Verdict, broken, holds, listed
from almoner.schema.base import org_code
from almoner.schema.policy_allow import DAYS, SubmitterRule, Window


def _rules_of_role(asked: Question) -> list[SubmitterRule]:
    """Return the policy's lines that fit the signer's role and organisation."""
    who = asked.request.submitter
    return [
        rule
        for rule in asked.site.policy.allow.submitters
        if who.role and rule.role == who.role and who.org in {org_code(org) for org in rule.orgs}
    ]


def submitter_role(asked: Question) -> Verdict:
    """The signer's role and organisation must be admitted by the policy."""
    who, allowed = asked.request.submitter, asked.site.policy.allow.submitters
    if not who.role:
        return broken(
            f"signed with a certificate that is no user's ({who.name})",
            "submit with the startup kit of an admitted user",
        )
    names = listed(f"{rule.role} of {'/'.join(rule.orgs)}" for rule in allowed)
    found = f"{who.name} is {who.role} of {who.org}; admitted are {names}"
    return holds(found) if _rules_of_role(asked) else broken(found, "ask an admitted user to submit")


def submitter_user(asked: Question) -> Verdict:
    """Where the policy names persons, the signer must be one of them."""
    who, rules = asked.request.submitter.name, _rules_of_role(asked)
    named = [user for rule in rules for user in rule.users or ()]
    if not rules or any(rule.users is None for rule in rules):
        return UNSET
    if who in named:
        return holds(f"{who} is named")
    return broken(f"{who} is not in {listed(named)}", "ask one of them to submit")


def envelope_sites(asked: Question) -> Verdict:
    """The envelope must be for this site."""
    found = f"the job is for {listed(asked.request.envelope.sites)}"
    return holds(found) if asked.site.policy.site in asked.request.envelope.sites else broken(found)


def envelope_replayed(asked: Question) -> Verdict:
    """An envelope is admitted once."""
    if asked.site.nonce_seen:
        return broken("this exported job was submitted before", "export it again")
    return holds("not submitted before")


def envelope_expired(asked: Question) -> Verdict:
    """An envelope is admitted until it expires."""
    if asked.site.now_unix_seconds > asked.request.envelope.expires_unix_seconds:
        return broken("the exported job is too old", "export it again")
    return holds("not expired")


def envelope_validity(asked: Question) -> Verdict:
    """An envelope may be good for so long, from a time that has come by the site's own clock.

    *Guarantee*: with `envelope_expired`, a job is admitted only between the time of its export (less the clocks'
    difference) and the policy's days after it. That time is the submitter's word: a job that was dated ahead is
    refused until then, and the days count from there.
    """
    envelope, most = asked.request.envelope, asked.site.policy.limits.validity_days
    if envelope.issued_unix_seconds > asked.site.now_unix_seconds + CLOCK_SKEW_SECONDS:
        return broken("the job was exported in the future", "set the clock right, and export it again")
    days = (envelope.expires_unix_seconds - envelope.issued_unix_seconds) / DAY_SECONDS
    found = f"good for {days:.2f} days from its export, at most {most}"
    return holds(found) if days <= most else broken(found, "export it again, with the policies of now")


def envelope_version(asked: Question) -> Verdict:
    """The envelope must come from the site's own release."""
    made, has = asked.request.envelope.almoner_version, asked.site.version
    if made != has:
        return broken(f"exported by almoner {made}, the site has {has}", "export it with the site's release")
    return holds(f"exported by almoner {made}")


def study_session(asked: Question) -> Verdict:
    """The study must be the one that FLARE ran the submission under."""
    study, session = asked.spec.study, asked.request.flare_study or "default"
    found = f"submitted under FLARE study {session}, the job says {study}"
    return holds(found) if session == study else broken(found, f"log in with --study {study}")


def windows_text(windows: tuple[Window, ...]) -> str:
    """Return time windows the way refusals print them."""
    return ", ".join(f"{'/'.join(window.days)} {window.from_hour:02d}-{window.to_hour:02d} h" for window in windows)


def windows(asked: Question) -> Verdict:
    """Jobs are admitted in the policy's hours alone, in UTC."""
    allowed = asked.site.policy.allow.windows
    if allowed is None:
        return UNSET
    now = datetime.fromtimestamp(asked.site.now_unix_seconds, UTC)
    found = f"it is {DAYS[now.weekday()]} {now.hour:02d} h UTC; jobs are admitted {windows_text(allowed)}"
    if any((now.weekday(), now.hour) in window.cells for window in allowed):
        return holds(found)
    return broken(found, "submit it then")
