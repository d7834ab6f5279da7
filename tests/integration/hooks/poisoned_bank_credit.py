"""Test-only workload: bank_credit on exchanged labels. See poison.py."""

from dataclasses import replace

from almoner.redteam.poisoning.crude import LabelFlip
from almoner.workloads.bank_credit import BankCredit


class PoisonedBankCredit(BankCredit):
    name = "bank_credit_poisoned"

    def load(self, path):
        data = super().load(path)
        return replace(data, train=LabelFlip().poison(data.train))
