"""Weights that weaver-core trained, as a user brings them, in networks of this package."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from models.jet_batches import LEVELS, SMALL, random_batch, weaver_model
from torch import Tensor

from breakeven.models.jet_inputs import JetInputs
from breakeven.models.jet_network import JetNetwork
from breakeven.models.published_jets import by_our_names, load_published
from breakeven.models.ragged import parents_of
from breakeven.models.weights import WeightsDoNotFit


def published(n_outputs: int = 10, size: dict[str, Any] = SMALL) -> dict[str, Tensor]:
    """As in the files of arXiv 2202.03772: a prefix, and the names of torch's own attention."""
    names = {".in_proj.weight": ".in_proj_weight", ".in_proj.bias": ".in_proj_bias"}
    weights = {}
    for name, tensor in weaver_model(size, n_outputs).state_dict().items():
        for new, old in names.items():
            name = name.replace(new, old)
        weights[f"mod.{name}"] = tensor
    return weights


def network(n_outputs: int = 10, **changed: Any) -> JetNetwork:
    return JetNetwork(LEVELS, n_outputs, **{**SMALL, **changed}).double()


def saved(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "ParT.pt")
    return folder / "ParT.pt"


def test_published_weights_give_the_published_outputs(tmp_path: Path) -> None:
    model = network()
    load_published(model, saved(tmp_path, published()))
    jets, offsets, inside, inner = random_batch([(23,), (7,), (1,), (90,)])
    features, moving = JetInputs(LEVELS).constituents(jets, inside, parents_of(inner))
    theirs = weaver_model(SMALL, 10)
    for number in range(4):
        rows = slice(int(inner[number]), int(inner[number + 1]))
        mask = torch.ones(1, 1, rows.stop - rows.start, dtype=torch.float64)
        expected = theirs(features[rows].T[None], v=moving[rows, 3:].T[None], mask=mask)
        outputs = model(jets, offsets, inside, inner)[number : number + 1]
        torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)


def test_what_does_not_fit_is_named_on_either_side_and_nothing_changes(tmp_path: Path) -> None:
    model, weights = network(), published()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    del weights["mod.blocks.1.fc1.bias"], weights["mod.pair_embed.embed.5.running_var"], weights["mod.cls_token"]
    weights |= {"mod.fc.1.weight": torch.zeros(2, 3), "mod.blocks.0.gamma": torch.zeros(4)}
    weights["mod.norm.weight"] = torch.zeros(3)
    with pytest.raises(WeightsDoNotFit) as error:
        load_published(model, saved(tmp_path, weights))
    for part in (
        "ParT.pt does not fit the model",
        "missing: jets.blocks.1.fc1.bias [128]",
        "missing: jets.class_token [32]",
        "missing: jets.pair_embed.2.weight [4, 8]",
        "unexpected: pair_embed.embed.4.weight [4, 8, 1]",
        "unexpected: pair_embed.embed.5.running_mean [4]",
        "unexpected: fc.1.weight [2, 3]",
        "unexpected: jets.blocks.0.gamma [4]",
        "shape: jets.norm.weight is [3], the model has [32]",
        "'width': 32",
    ):
        assert part in str(error.value), part
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("changed", [{"width": 16}, {"blocks": 3, "class_blocks": 2}, {"pairs": [8, 6]}], ids=str)
def test_of_another_architecture_every_tensor_is_named_that_has_no_counterpart(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    model, weights = network(**changed), published()
    own, theirs = model.state_dict(), by_our_names(weights)
    misfits = {name for name in own.keys() | theirs.keys()
               if name not in own or name not in theirs or own[name].shape != theirs[name].shape}  # fmt: skip
    with pytest.raises(WeightsDoNotFit) as error:
        load_published(model, saved(tmp_path, weights))
    assert len(misfits) >= 4 and f"({len(misfits)} misfits)" in str(error.value)
    named = {line.split()[1] for line in str(error.value).splitlines() if line.startswith("  ")}
    assert named == misfits


def test_weights_of_another_size_or_head_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, published())
    with pytest.raises(WeightsDoNotFit, match=r"jets.class_token is \[32\], the model has \[16\]"):
        load_published(network(width=16), path)
    with pytest.raises(WeightsDoNotFit, match=r"head.weight is \[10, 32\], the model has \[1, 32\]"):
        load_published(network(1), path)
    with pytest.raises(ValueError, match="this network has the representation 'V': load them into one with \"jet\""):
        load_published(network(representation="V"), path)


def test_files_that_hold_no_weights_are_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_published(network(), tmp_path / "none.pt")
    with pytest.raises(ValueError, match="holds something else than a state dict"):
        load_published(network(), saved(tmp_path, {"epoch": 3}))
    for content in (b"", b"no weights at all", pickle.dumps(Path("/"), protocol=2)):
        (tmp_path / "other.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"other.pt is not a state dict that torch.save wrote"):
            load_published(network(), tmp_path / "other.pt")


def test_a_file_that_would_run_code_runs_none(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "touched",))

    path = saved(tmp_path, {"weight": Harmful()})
    with pytest.raises(ValueError, match="is not a state dict"):
        load_published(network(), path)
    assert not (tmp_path / "touched").exists()
