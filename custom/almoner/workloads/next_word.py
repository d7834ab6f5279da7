"""The next word of a speech: an LSTM over a public vocabulary; a unit is a speaker, with all that he says.

Sites fit nothing: words and their prior odds are those of `next_word_vocabulary`, which says how they were chosen, and
the other first weights are bytes of SHAKE-256.

The model is torch's own LSTM. Opacus takes per-record gradients of an LSTM of its own, `DPLSTM`, alone; functorch's
`vmap` takes those of torch's. Neither is needed: the unit is a speaker, so what is clipped is the gradient of the *sum*
of a speaker's losses, and one ordinary backward pass a speaker gives just that, with tied weights as well. Measured on
one core, in words a second (records of 24 words, 8 or more a pass): backward pass 33,000, DPLSTM's hooks 6,600, vmap
3,100 (5,400 over a cell written out).
"""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from almoner.training.flat import dimension
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload
from almoner.workloads.next_word_text import LENGTH, load_speakers
from almoner.workloads.next_word_vocabulary import CLASS_OF, CLASSES, PADDING, PRIOR_LOG_ODDS, SPEECH, UNKNOWN

EMBEDDING = 64
HIDDEN = 128

_IGNORED = CLASS_OF[PADDING]
_NEVER_PROPOSED = [CLASS_OF[name] for name in (PADDING, UNKNOWN, SPEECH)]
_LARGEST = 0.125
_MEASURED_AT_ONCE = 256
_WEIGHTS_OF = b"almoner/next_word/first weights/1"


class NextWordModel(torch.nn.Module):
    """Embedding, LSTM, and a head whose weights are the embedding's (arXiv:1608.05859)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(len(CLASSES), EMBEDDING)
        self.lstm = torch.nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.projection = torch.nn.Linear(HIDDEN, EMBEDDING)
        self.bias = torch.nn.Parameter(torch.zeros(len(CLASSES)))

    def forward(self, words: Tensor) -> Tensor:
        """Return log odds of each class as the next word, Tensor[n, LENGTH, classes]."""
        states, _ = self.lstm(self.embedding(words))
        return torch.nn.functional.linear(self.projection(states), self.embedding.weight, self.bias)


class NextWord(Workload):
    """The next word or mark that a speaker says, out of the speech so far."""

    name = "next_word"

    def build_model(self) -> torch.nn.Module:
        """Build the model.

        The first weights are bytes of SHAKE-256 of a fixed text, scaled. Biases are 0, but for the head's: they are the
        declared log odds of words, so that training need not learn how often a word is said.
        """
        model = NextWordModel()
        drawn = np.frombuffer(hashlib.shake_256(_WEIGHTS_OF).digest(dimension(model)), np.uint8)
        weights = torch.from_numpy((2.0 * drawn - 255.0).astype(np.float32) * (_LARGEST / 255.0))
        start = 0
        with torch.no_grad():
            for parameter in model.parameters():
                own = weights[start : start + parameter.numel()].reshape(parameter.shape)
                parameter.copy_(own if parameter.dim() > 1 else torch.zeros_like(own))
                start += parameter.numel()
            model.bias.copy_(torch.tensor(PRIOR_LOG_ODDS))
        return model

    def load(self, path: Path) -> UnitData:
        """Load a site's `speakers.jsonl`; see the base class for what this guarantees."""
        return load_speakers(path)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of a record's cross entropies, over LENGTH; what is ignored adds nothing."""
        losses = torch.nn.functional.cross_entropy(
            outputs.flatten(0, 1), targets.flatten(), ignore_index=_IGNORED, reduction="none"
        )
        return losses.reshape(targets.shape).sum(1) / LENGTH

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the most likely word at each place of a record, Tensor[n, LENGTH]; it is always a listed one."""
        return _proposals(outputs).argmax(-1)

    def figures(self, model: torch.nn.Module, records: UnitRecords) -> dict[str, float]:
        """Return the shares of words that are the first proposal and among the first five, and the perplexity.

        Words are all words and marks that follow another in a record, those that are not listed too: only listed words
        are proposed, so an unlisted one is never right. For the perplexity all of them are one class.
        """
        model.eval()
        first = five = words = 0
        loss = 0.0
        with torch.no_grad():
            for start in range(0, len(records.unit), _MEASURED_AT_ONCE):
                part = slice(start, start + _MEASURED_AT_ONCE)
                counts = records.targets[part] != _IGNORED
                outputs, targets = model(records.features[part])[counts], records.targets[part][counts]
                loss += float(torch.nn.functional.cross_entropy(outputs, targets, reduction="sum"))
                hits = _proposals(outputs).topk(5).indices == targets[:, None]
                first, five, words = first + int(hits[:, 0].sum()), five + int(hits.sum()), words + len(targets)
        if not words:
            return dict.fromkeys(("top1", "top5", "perplexity"), math.nan)
        return {"top1": first / words, "top5": five / words, "perplexity": float(np.exp(loss / words))}


def _proposals(outputs: Tensor) -> Tensor:
    """Return log odds in which what is no listed word comes last."""
    proposals = outputs.clone()
    proposals[..., _NEVER_PROPOSED] = -torch.inf
    return proposals
