"""The next word: a declared vocabulary that takes every text, speakers as units, figures that count as they say."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almoner.errors import DataError
from almoner.training.flat import flatten
from almoner.training.gradients import UnitGradients
from almoner.training.units import UnitRecords
from almoner.workloads.next_word import NextWord
from almoner.workloads.next_word_text import LENGTH, cut, encode, words
from almoner.workloads.next_word_vocabulary import CLASS_OF, CLASSES, PADDING, SPEECH, UNKNOWN

TASK = NextWord()
PAD, NEW, OPENING = CLASS_OF[PADDING], CLASS_OF[UNKNOWN], CLASS_OF[SPEECH]


def load(folder: Path, *lines: object) -> UnitRecords:
    path = folder / "speakers.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return TASK.load(path).train


def speaker(name: str, *speeches: str) -> dict[str, object]:
    return {"record_id": name, "split": "train", "speeches": list(speeches)}


class TestWords:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Who's there?", "who 's there ?"),
            ("'Tis appear'd; thou know'st is't--I'll", "'tis appear 'd ; thou know 'st is 't -- i 'll"),
            ("Ne'er ta’en i' the o'clock to-night—don't", "ne'er ta'en i' the o clock to night -- do n't"),
            ("''tis \"so\" (said) 3 £ café", "'tis so said caf"),
            ("", ""),
        ],
    )
    def test_cuts(self, text: str, expected: str) -> None:
        assert words(text) == expected.split()

    @given(st.text())
    def test_every_text_has_numbers_of_its_own_alone(self, text: str) -> None:
        numbers = encode([text])
        assert numbers[0] == OPENING
        assert set(numbers[1:]) <= set(range(len(CLASSES))) - {PAD, OPENING}
        assert encode([text, text]) == numbers + numbers

    def test_every_listed_word_is_one_word(self) -> None:
        listed = [word for word in CLASSES if word not in (PADDING, UNKNOWN, SPEECH)]
        assert len(CLASSES) == len(set(CLASSES)) == 2048
        assert [word for word in listed if words(word) != [word]] == []


class TestRecords:
    def test_targets_are_the_words_moved_by_one_but_for_openings(self) -> None:
        inputs, targets = cut(encode(["Who is there?", "I, hodnog."]))
        who, there, ask, i, comma, stop = (CLASS_OF[word] for word in ("who", "there", "?", "i", ",", "."))
        expected = [OPENING, who, CLASS_OF["is"], there, ask, OPENING, i, comma, NEW, stop]
        assert inputs[0].tolist() == expected[:-1] + [stop] + [PAD] * (LENGTH - len(expected))
        assert targets[0].tolist() == [*expected[1:5], PAD, *expected[6:]] + [PAD] * (LENGTH - len(expected) + 1)

    @given(st.integers(0, 5 * LENGTH))
    def test_every_word_but_the_first_is_a_target_once(self, length: int) -> None:
        stream = list(range(10, 10 + length))
        inputs, targets = cut(stream)
        assert inputs.shape == targets.shape == (math.ceil(max(length - 1, 0) / LENGTH), LENGTH)
        assert targets[targets != PAD].tolist() == stream[1:]
        assert ((inputs == targets - 1) | (targets == PAD)).all()

    def test_a_speaker_is_one_unit_however_many_lines_he_has(self, tmp_path: Path) -> None:
        long = "to be or not to be " * 9
        records = load(tmp_path, speaker("A", long), speaker("B", "Ay."), speaker("A", long, "No."))
        assert records.num_units == 2
        assert np.bincount(records.unit).tolist() == [len(cut(encode([long, long, "No."]))[0]), 1]

    def test_broken_lines_are_left_out(self, tmp_path: Path) -> None:
        bad = ["{", "[" * 100_000, "3", '{"record_id": "X"}', {**speaker("X"), "split": "valid"}]
        bad += [speaker("", "hey"), {**speaker("X"), "speeches": "hey"}, {**speaker("X"), "speeches": [None, 3]}]
        assert load(tmp_path, *bad, speaker("A", "hey you"), "").num_units == 1

    def test_no_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="cannot be read"):
            TASK.load(tmp_path / "none.jsonl")


class TestFigures:
    def model(self, table: dict[int, list[int]]) -> torch.nn.Module:
        """Return a model that ranks classes after each word as the table says."""

        class Fixed(torch.nn.Module):
            def forward(self, inputs: torch.Tensor) -> torch.Tensor:
                odds = torch.zeros(*inputs.shape, len(CLASSES))
                for word, ranked in table.items():
                    for place, label in enumerate(ranked):
                        odds[..., label] += torch.where(inputs == word, 9.0 - place, 0.0)
                return odds

        return Fixed()

    def test_by_hand(self) -> None:
        inputs, targets = np.zeros((2, 1, LENGTH), np.int64)
        inputs[0, :4], targets[0, :4] = [20, 21, 22, 23], [30, 31, NEW, PAD]
        records = UnitRecords(torch.from_numpy(inputs), torch.from_numpy(targets), np.zeros(1, np.int64))
        model = self.model({20: [NEW, 30], 21: [NEW, 40, 41, 42, 43, 31], 22: [NEW], 23: [50]})
        found = TASK.figures(model, records)
        assert found["top1"] == pytest.approx(1 / 3)  # 30 comes second after what is never proposed
        assert found["top5"] == pytest.approx(2 / 3)  # 31 is the fifth proposal; an unlisted word is never right
        rows = [([9, 8], 8), ([9, 8, 7, 6, 5, 4], 4), ([9], 9)]
        losses = [math.log(sum(map(math.exp, given)) + len(CLASSES) - len(given)) - right for given, right in rows]
        assert found["perplexity"] == pytest.approx(math.exp(sum(losses) / 3), rel=1e-4)
        assert TASK.predict(model(records.features))[0, :2].tolist() == [30, 40]

    def test_nothing_is_not_a_number(self) -> None:
        empty = torch.empty((0, LENGTH), dtype=torch.int64)
        found = TASK.figures(TASK.build_model(), UnitRecords(empty, empty, np.empty(0, np.int64)))
        assert list(found) == ["top1", "top5", "perplexity"]
        assert all(math.isnan(value) for value in found.values())


def test_padding_and_openings_add_nothing_to_a_loss() -> None:
    targets = torch.from_numpy(cut(encode(["so it is", "so"]))[1])
    outputs = torch.randn(1, LENGTH, len(CLASSES), generator=torch.Generator().manual_seed(0))
    changed = outputs.clone()
    changed[0, (targets[0] == PAD).nonzero()[:, 0]] = 7.0
    assert torch.equal(TASK.loss(outputs, targets), TASK.loss(changed, targets))
    assert TASK.loss(outputs, torch.full_like(targets, PAD)).tolist() == [0.0]


class TestUnitGradients:
    NORM = 0.5

    def autograd(self, records: UnitRecords, unit: int) -> np.ndarray:
        """Return a speaker's gradient as one backward pass a record gives it."""
        model, total = TASK.build_model(), np.zeros(TASK.dimension)
        for record in np.flatnonzero(records.unit == unit):
            model.zero_grad()
            TASK.loss(
                model(records.features[record : record + 1]), records.targets[record : record + 1]
            ).sum().backward()
            total += np.concatenate([parameter.grad.double().flatten().numpy() for parameter in model.parameters()])
        return total

    def test_a_speaker_is_clipped_once_whatever_he_says(self, tmp_path: Path) -> None:
        long = [f"o {CLASSES[20 + number]} is it so or not , my lord ?" for number in range(100)]
        records = load(tmp_path, speaker("A", "Ay."), speaker("B", *long), speaker("C", "and so it is"))
        gradients = UnitGradients(
            TASK.build_model(), TASK.loss, records, max_grad_norm=self.NORM, micro_batch_size=16, min_micro_batches=1
        )
        weights, units = flatten(TASK.build_model()), np.arange(3)
        whole = gradients.clipped_sum(weights, units)
        own = [self.autograd(records, unit) for unit in units]
        assert np.linalg.norm(own[1]) > 10 * self.NORM
        expected = sum(one * min(1.0, self.NORM / np.linalg.norm(one)) for one in own)
        assert np.linalg.norm(whole - expected) < 2e-3 * self.NORM
        without = gradients.clipped_sum(weights, np.array([0, 2]))
        assert np.linalg.norm(whole - without) <= self.NORM
