import numpy as np
import pytest

from breakeven.ledger.responses import NoResponse, Responses


@pytest.fixture
def layers():
    random = np.random.default_rng(1)
    names = [
        "encoder",
        *(f"block {number}" for number in range(1, 13)),
        "decoder",
    ]  # more than nine: not sorted as text
    return {name: random.normal(size=(6, 4)).astype(np.float32) for name in names}


def test_layers_come_back_in_their_order_in_half_precision(tmp_path, layers):
    kept = Responses(tmp_path, "representations")
    back = kept.read("abc", kept.write("abc", layers))
    assert list(back) == list(layers)
    for name, layer in layers.items():
        assert back[name].dtype == np.float16
        np.testing.assert_allclose(back[name], layer, rtol=1e-3)


def test_a_second_try_replaces_the_first(tmp_path, layers):
    kept = Responses(tmp_path, "representations")
    first = kept.write("abc", layers)
    second = kept.write("abc", {name: layer + 1 for name, layer in layers.items()})
    assert kept.read("abc", second)["decoder"][0, 0] == pytest.approx(layers["decoder"][0, 0] + 1, rel=1e-3)
    with pytest.raises(NoResponse, match="changed after its trial ended: remove the trial's record"):
        kept.read("abc", first)


def test_what_is_missing_or_not_finite_is_told(tmp_path, layers):
    kept = Responses(tmp_path, "representations")
    with pytest.raises(NoResponse, match=r"abc.safetensors cannot be read .* copy representations/ from"):
        kept.read("abc", "0")
    with pytest.raises(ValueError, match="representations: '0 encoder' of abc"):
        kept.write("abc", {"encoder": np.full((2, 2), 1e6, dtype=np.float32)})
    assert not kept.folder.exists()


def test_it_says_of_which_records_something_is_here(tmp_path, layers):
    kept = Responses(tmp_path, "scores")
    assert kept.present() == set()
    kept.write("abc", layers)
    (kept.folder / "def.safetensors.part").write_text("")
    assert kept.present() == {"abc"}
