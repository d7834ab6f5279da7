"""A pickle that a data package brings is a program: `pickle.load` runs it, the reader of tables does not."""

import contextlib
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tests.pickled_tables import numbers, pickled, table

import almoner
from almoner.data.hard_drives import parse_drives
from almoner.data.inert_pickle import Called
from almoner.data.pickled_table import read_table
from almoner.errors import DataError

SECONDS = 1.0


def says(code: str, at: Path) -> bytes:
    """A pickle that writes a file when it is run."""
    return pickled(Called(code, ((f"touch {at}" if code == "os.system" else f"open({str(at)!r}, 'w').close()"),)))


@pytest.mark.threat("T-100")
@pytest.mark.parametrize("code", ["os.system", "builtins.eval", "builtins.exec"])
def test_a_call_runs_under_pickle_and_is_refused(code: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    content = says(code, mark)
    pickle.loads(content)
    assert mark.exists()
    mark.unlink()
    for read in (read_table, parse_drives):
        with pytest.raises(DataError, match="not a table as pandas writes it"):
            read(content)
    assert not mark.exists()


class Anything:
    """A stand-in for whatever pandas would make."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


@pytest.mark.threat("T-100")
def test_a_call_beside_a_good_table_runs_under_pickle_and_never_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is good, and a passenger rides in a field that nobody reads."""
    mark = tmp_path / "mark"
    frame = table(["a", "b"], [(numbers(np.array([[1, 2], [3, 4]]), "i8"), (0, 2))])
    assert isinstance(frame.state, dict)
    frame.state = {"attrs": Called("os.system", (f"touch {mark}",)), **frame.state}
    content = pickled(frame)
    for name in ("pandas", "pandas.core.frame", "pandas.core.internals.managers", "pandas._libs.internals"):
        module = ModuleType(name)
        vars(module).update(dict.fromkeys(("DataFrame", "BlockManager", "_unpickle_block", "_new_Index"), Anything))
        monkeypatch.setitem(sys.modules, name, module)
    with contextlib.suppress(ModuleNotFoundError):
        pickle.loads(content)
    assert mark.exists()
    mark.unlink()
    assert read_table(content)["b"].tolist() == [3, 4]
    assert not mark.exists()


def with_key(depth: int) -> bytes:
    """A dictionary whose key are so many pairs in one another: to hash it takes 2^depth steps."""
    return b"\x80\x05})\x94" + b"".join(b"h%c\x86\x94" % number for number in range(depth)) + b"Ns."


@pytest.mark.threat("T-100")
def test_a_key_that_takes_for_ever_hangs_pickle_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a key is no text"):
        read_table(with_key(10))  # the same, of a depth that ends without the control too
    path = tmp_path / "key.pickle"
    path.write_bytes(with_key(100))
    load = f"import pickle; pickle.load(open({str(path)!r}, 'rb'))"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-S", "-c", load], check=False, timeout=SECONDS)
    with pytest.raises(DataError, match="a key is no text"):
        read_table(path.read_bytes())


@pytest.mark.threat("T-100")
def test_nothing_of_almoner_runs_a_pickle() -> None:
    """No module imports pickle or its like, or lets numpy or torch do it."""
    runs = re.compile(
        r"^\s*(?:import|from) _?(?:pickle|dill|cloudpickle|joblib|shelve|marshal)\b"
        r"|\b(?:torch\.load|read_pickle)\(|allow_pickle\s*=\s*(?!False)",
        re.MULTILINE,
    )
    assert all(runs.search(text) for text in ("import pickle", "  from pickle import loads", "x = torch.load(p)"))
    found = [path for path in Path(almoner.__file__).parent.rglob("*.py") if runs.search(path.read_text())]
    assert found == []
