"""A network is built by all that a study says of it."""

import inspect
from dataclasses import fields, replace

import pytest

from breakeven.events.jets import CONSTITUENT, JET
from breakeven.feature import OBJECT
from breakeven.models.jet_network import JetNetwork
from breakeven.models.spec import UnknownNetwork
from breakeven.study.spec import JET_OPTIONS, KINDS, Network
from breakeven.work.network import build_network, spec_of

OTHER = {"shared_blocks": True, "iterations": 2, "hidden": 32, "log_momenta": False, "initialisation": "torch",
         "engine": "dgl"}  # fmt: skip
"""For each field of an event_graph a value that is not its default."""


def test_every_field_of_a_study_has_another_value_here():
    assert {*OTHER, "kind", "options", "representation"} == {field.name for field in fields(Network)}
    assert not [name for name, value in OTHER.items() if getattr(Network(), name) == value]


@pytest.mark.parametrize("name", OTHER)
def test_every_field_reaches_the_network(name):
    spec = spec_of(replace(Network(), **{name: OTHER[name]}))
    assert spec.arguments == {**spec_of(Network()).arguments, name: OTHER[name]}


def test_the_network_is_the_one_that_was_asked_for():
    asked = replace(Network(), **{**OTHER, "engine": "native"})
    made = build_network(asked, (OBJECT,), 3).config()
    assert made == {"n_outputs": 3, **{name: value for name, value in OTHER.items() if name != "engine"}}


def test_a_network_on_jets_has_its_representation():
    asked = Network(
        kind="jet_transformer", options={"width": 8, "heads": 2, "blocks": 1, "pairs": 4}, representation="V+HLF"
    )
    made = build_network(asked, (JET, CONSTITUENT), 1).config()
    assert made["representation"] == "V+HLF" and made["width"] == 8 and made["pairs"] == [4]
    assert build_network(replace(asked, representation=""), (JET, CONSTITUENT), 1).config()["representation"] == "jet"


def test_kinds_and_options_of_a_study_are_those_that_models_have():
    """The specification needs no torch to name them."""
    with pytest.raises(UnknownNetwork, match=f"known are {', '.join(KINDS)};"):
        build_network(Network(kind="nothing"), (OBJECT,), 1)
    taken = set(inspect.signature(JetNetwork).parameters) - {"levels", "n_outputs", "representation"}
    assert {*JET_OPTIONS} == {*taken, "pair_layers"}
    bare = Network(kind="jet_transformer", representation="V")
    levels = JET, CONSTITUENT
    assert (
        build_network(bare, levels, 1).config() == build_network(replace(bare, options=JET_OPTIONS), levels, 1).config()
    )


def test_a_network_of_a_plug_in_has_its_options_alone():
    spec = spec_of(Network(kind="jet_sets", options={"width": 12}, iterations=2))
    assert (spec.kind, spec.arguments) == ("jet_sets", {"width": 12})
