"""Order and cursor of packed rows, and the coded refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tessera_engine.data import PackedData, rows_of_batch
from tessera_engine.errors import EngineError


def packed(path: Path, rows: int = 10, length: int = 4) -> Path:
    ids = torch.arange(rows * length, dtype=torch.int32).view(rows, length)
    save_file({"input_ids": ids, "labels": ids.clone()}, str(path))
    return path


def test_epoch_zero_is_file_order_and_every_epoch_is_a_permutation() -> None:
    rows, size = 10, 4
    stream = [row for batch in range(15) for row in rows_of_batch(batch, size, rows, seed=3)]
    epochs = [stream[e * rows : (e + 1) * rows] for e in range(6)]
    assert epochs[0] == list(range(rows))
    assert all(sorted(epoch) == list(range(rows)) for epoch in epochs)
    assert epochs[1] != epochs[0] and epochs[1] != epochs[2]


def test_order_depends_on_the_seed_and_on_nothing_else() -> None:
    assert rows_of_batch(7, 4, 10, seed=3) == rows_of_batch(7, 4, 10, seed=3)
    assert any(rows_of_batch(b, 4, 10, seed=3) != rows_of_batch(b, 4, 10, seed=4) for b in range(3, 8))


def test_a_given_order_is_of_the_first_epoch_alone(tmp_path: Path) -> None:
    order = [3, 1, 0, 2, 9, 8, 7, 6, 5, 4]
    file = packed(tmp_path / "d.safetensors")
    plain, data = (PackedData(file, 4, global_batch=4, seed=3, order=given) for given in ([], order))
    first = [int(row[0]) // 4 for b in range(3) for row in data.batch(b).input_ids]
    assert first[:10] == order and first[10:] == [int(row[0]) // 4 for row in plain.batch(2).input_ids][2:]
    assert torch.equal(data.batch(4).input_ids, plain.batch(4).input_ids)
    for wrong in (order[:-1], [*order[:-1], 3]):
        with pytest.raises(EngineError, match="order of"):
            PackedData(file, 4, global_batch=4, seed=3, order=wrong)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_slices_of_a_batch_join_to_the_batch(tmp_path: Path, parts: int) -> None:
    data = PackedData(packed(tmp_path / "d.safetensors"), 4, global_batch=4, seed=0)
    whole = data.batch(5)
    joined = torch.cat([data.batch(5, part, parts).input_ids for part in range(parts)])
    assert torch.equal(whole.input_ids, joined)
    assert whole.input_ids.dtype == torch.int64 and whole.labels.shape == (4, 4)


def code_of(path: Path, length: int = 4) -> EngineError:
    with pytest.raises(EngineError) as caught:
        PackedData(path, length, global_batch=4, seed=0)
    return caught.value


def test_bad_files_are_named(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent.safetensors").code == "ENGINE_DATA_MISSING"
    whole = packed(tmp_path / "d.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-10])
    error = code_of(cut)
    assert error.code == "ENGINE_DATA_DAMAGED" and error.facts["file"] == str(cut)
    assert code_of(whole, length=5).code == "ENGINE_DATA_SHAPE"
    wide = tmp_path / "wide.safetensors"
    save_file({"input_ids": torch.zeros(2, 4), "labels": torch.zeros(2, 4, dtype=torch.int32)}, str(wide))
    assert code_of(wide).facts["tensor"] == "input_ids"


def test_a_file_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    data = PackedData(packed(tmp_path / "d.safetensors"), 4, global_batch=4, seed=0)
    data.check_vocabulary(40)
    with pytest.raises(EngineError) as caught:
        data.check_vocabulary(39)
    assert caught.value.code == "ENGINE_DATA_VOCABULARY" and caught.value.facts["highest"] == 39
