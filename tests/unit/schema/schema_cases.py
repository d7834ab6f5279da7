"""Documents as text, edits that must hit exactly once, and what every error's text must be."""

from almoner.errors import DocumentError
from almoner.schema.base import Document
from almoner.schema.documents import parse_document

JOB = """\
schema_version: 1
kind: training
name: heart-disease
study: cardiology
purpose: coronary disease from routine tests
workload: heart_disease
dataset: cardiology
rounds: 20
min_sites: 3
training:
  local_steps: 1
  learning_rate: 1.0
privacy:
  unit: patient
  neighboring_relation: add_or_remove_one
  mechanism: dp_sgd
  target_epsilon: 1.0
  target_delta: 1.0e-4
  max_grad_norm: 1.0
  sampling_prob: 0.5
aggregation:
  kind: he
  num_colluding_sites: 1
releases:
  - kind: accuracy
    epsilon: 0.1
"""

PSI = """\
schema_version: 1
kind: psi
name: patient-alignment
study: alignment
purpose: find the patients whom both hospitals treat
dataset: patients
sites: [north, south]
leader: north
unit: patient
neighboring_relation: add_or_remove_one
identifier:
  - {field: insurance_number, kind: text}
  - {field: birth_date, kind: date}
max_identifiers: 50000
releases:
  - {kind: size, epsilon: 0.1}
"""

SITE_POLICY = """\
schema_version: 1
site: cleveland
extends: consortium
accounts:
  - population: cleveland-cardiology
    privacy_unit: patient
    neighboring_relation: add_or_remove_one
    epsilon_cap: 3.0
    delta: 1.0e-4
limits:
  epsilon_per_job: 1.5
  min_noise_multiplier: 0.8
  max_sampling_prob: 0.5
  max_rounds: 50
allow:
  submitters: [{role: lead, orgs: [cleveland]}]
  studies: [cardiology]
  workloads: [heart_disease]
require: {min_sites: 3, protection: [he, secagg]}
release_final_model: true
"""

SITE_CONFIG = """\
schema_version: 1
site: cleveland
datasets:
  cardiology:
    population: cleveland-cardiology
    path: data/heart.csv
    nominal_records: 212
    public: true
    one_record_per_unit: true
"""

CONSORTIUM = """\
schema_version: 1
name: heart-consortium
server: {host: localhost, org: coordinating-centre}
sites: [cleveland, va-long-beach, hungary]
users:
  - {name: lead@cleveland.example, org: cleveland, role: lead}
  - {name: trainee@hungary.example, org: hungary, role: trainee}
roles:
  trainee: [submit_job, view]
studies:
  cardiology: {sites: all, admins: [lead@cleveland.example]}
  oncology: {sites: [hungary, cleveland], admins: []}
"""


def edit(text: str, old: str, new: str) -> str:
    """Replace text that occurs exactly once, so that no case can miss what it means to change."""
    if text.count(old) != 1:
        raise ValueError(f"{old!r} occurs {text.count(old)} times")
    return text.replace(old, new)


def line_of(text: str, fragment: str) -> int:
    """Return the 1-based line of a fragment that occurs once."""
    if text.count(fragment) != 1:
        raise ValueError(f"{fragment!r} occurs {text.count(fragment)} times")
    return text[: text.index(fragment)].count("\n") + 1


def refusal(text: str, model: type[Document], source: str = "f.yaml") -> str:
    """Return the error's text after checking that it is one printable line that names the file."""
    try:
        parse_document(text, model, source)
    except DocumentError as error:
        message = str(error)
        if not message.isprintable() or not message.startswith(source) or len(message) > 1000:
            raise ValueError(f"not one line that names the file: {message!r}") from None
        return message
    raise ValueError("the document was accepted")
