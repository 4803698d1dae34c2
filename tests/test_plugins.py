"""A plug-in of jets with constituents goes through everything that whole events go through."""

import dataclasses
import itertools
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from breakeven import cli, plugins
from breakeven.analysis.frame import title
from breakeven.events import arrays, schema, store
from breakeven.events.catalogue import known_names, known_schemas, source
from breakeven.events.sampling import Split
from breakeven.feature import OBJECT
from breakeven.fingerprint import file_hash
from breakeven.ledger.ledger import Ledger, now
from breakeven.models.spec import NetworkSpec, UnknownNetwork, version_of
from breakeven.stages.generation import check_distinct_events
from breakeven.study.identity import said
from breakeven.study.plan import Cell, Ingredients, trial
from breakeven.study.spec import InvalidStudy, Network, Pretraining, Study, task
from breakeven.study.task import task_name
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.checkpoint import read_model, write_model
from breakeven.training.content import content_hash
from breakeven.training.loop import evaluate, train
from breakeven.training.nonfinite import NonFinite
from breakeven.training.recipe import Recipe, Strategy
from breakeven.training.training import Training
from breakeven.views import preview
from breakeven.work.network import build_network
from breakeven.work.versions import schema_versions

PLUGIN = Path(__file__).parent / "data" / "jet_plugin.py"


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.VARIABLE, "")
    plugins.add_files([PLUGIN])


def dataset(root: Path, name: str, n_shards: int = 2) -> store.Dataset:
    recipe = store.Recipe(source(name), shard_events=100)
    for shard in range(n_shards):
        store.make_shard(recipe, root, shard)
    return store.complete(recipe, root, n_shards)


def nested(values: np.ndarray, offsets: np.ndarray) -> list[list]:
    return [values[begin:end].tolist() for begin, end in itertools.pairwise(offsets)]


def test_two_levels_survive_the_way_to_disk_and_back(tmp_path):
    made = dataset(tmp_path, "wide")
    table, _ = store.read_shard(made.paths()[1])
    again = source("wide").make(100, store.Recipe(source("wide"), shard_events=100).shard_seed(1), 1).table
    assert table.equals(again) and table.schema.field("constituent_pt").type.value_type.value_type == "float"
    jets = schema.unnested(table, "pt")[0][0]
    counts, values = schema.unnested(table, "constituent_pt")
    assert np.array_equal(counts[0], jets) and counts[1].sum() == len(values)
    assert table["constituent_pt"].to_pylist()[3] == nested(
        np.array(nested(values, np.cumsum([0, *counts[1]])), dtype=object), np.cumsum([0, *jets])
    )[3]  # fmt: skip


def test_the_content_hash_sees_where_lists_end(tmp_path):
    plugin_schema = source("wide").schema
    columns = {
        "hard_event": np.arange(2),
        **{name: np.zeros(3, np.float32) for name in ("pt", "eta")},
        "charge": np.zeros(3, np.int8),
        **{name: np.zeros(4, np.float32) for name in ("constituent_pt", "constituent_d_r")},
    }
    ends = [([1, 2], [1, 1, 2]), ([2, 1], [1, 1, 2]), ([1, 2], [1, 2, 1])]
    tables = [plugin_schema.table([np.array(jets), np.array(inside)], columns) for jets, inside in ends]
    assert len({schema.content_hash(table, plugin_schema) for table in tables}) == 3


def test_arrays_of_two_levels_are_the_events_of_the_shards_and_selected_events_keep_what_is_in_them(tmp_path):
    found = [arrays.open_arrays(dataset(tmp_path, name)) for name in ("wide", "narrow")]
    assert isinstance(found[0].inner[0][0], np.memmap) and found[0].n_events == 200
    rows = [np.array([150, 0, 7]), np.array([3, 3])]
    chosen = arrays.select(found, rows)
    jets = nested(chosen.nodes, chosen.offsets)
    constituents = nested(*chosen.inner[0])
    place = 0
    for event, (which, row) in enumerate([(0, 150), (0, 0), (0, 7), (1, 3), (1, 3)]):
        one = found[which]
        begin, end = one.offsets[row], one.offsets[row + 1]
        assert jets[event] == one.nodes[begin:end].tolist()
        for jet in range(begin, end):
            values, bounds = one.inner[0]
            assert constituents[place] == values[bounds[jet] : bounds[jet + 1]].tolist()
            place += 1
    assert place == len(constituents)


def test_tensors_gather_what_arrays_select(tmp_path):
    found = arrays.open_arrays(dataset(tmp_path, "wide"))
    rows = np.array([120, 5, 5, 199])
    chosen, batch = arrays.select([found], [rows]), EventTensors.of(found).gather(torch.from_numpy(rows))
    for tensor, array in zip(batch, (chosen.nodes, chosen.offsets, *chosen.inner[0]), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
    empty = EventTensors.of(found).gather(torch.tensor([], dtype=torch.int64))
    assert [len(part) for part in empty] == [0, 1, 0, 1]


def test_events_of_two_schemas_do_not_mix(tmp_path, datasets):
    both = [arrays.open_arrays(one) for one in (dataset(tmp_path, "wide"), datasets["WH"])]
    with pytest.raises(ValueError, match=r"WH.*'toy jets 1', 1.*must have one schema"):
        arrays.select(both, [np.array([0]), np.array([0])])


def test_lists_that_do_not_fit_together_and_impossible_values_are_named(tmp_path):
    made = source("wide").make(100, 1, 0).table
    counts, values = schema.unnested(made, "constituent_d_r")
    columns = {name: schema.unnested(made, name)[1] for name in made.column_names}
    far = values.copy()
    jet = counts[0][:2].sum()  # the first jet of event 2
    far[counts[1][:jet].sum()] = 0.7
    spoilt = source("wide").schema.table(counts, {**columns, "constituent_d_r": far})
    with pytest.raises(store.CorruptDataset, match=r"mine: event 2 has d_r = 0\.7: it lies between 0 and 0\.4"):
        arrays.things_of(spoilt, source("wide").schema, "mine")
    other = source("wide").schema.table([counts[0][::-1], counts[1]], columns)
    mixed = made.set_column(made.column_names.index("constituent_pt"), made.schema.field("constituent_pt"),
                            other["constituent_pt"])  # fmt: skip
    with pytest.raises(store.CorruptDataset, match="the lists of constituent_pt are not as long"):
        arrays.things_of(mixed, source("wide").schema, "mine")


def test_files_of_a_plugin_need_the_plugin(tmp_path, monkeypatch):
    path = dataset(tmp_path, "wide").paths()[0]
    monkeypatch.setenv(plugins.VARIABLE, "")
    with pytest.raises(
        schema.SchemaMismatch, match=r"version toy jets 1, this program reads version 1, jets 1;.*plug-in"
    ):
        store.read_shard(path)
    assert pq.read_schema(path).metadata[schema.VERSION_KEY] == b"toy jets 1"


def test_a_network_of_a_plugin_trains_on_its_events_and_comes_back_from_disk(tmp_path):
    found = [arrays.open_arrays(dataset(tmp_path, name)) for name in ("wide", "narrow")]
    chosen = arrays.select(found, [np.arange(one.n_events) for one in found])
    events, target = EventTensors.of(chosen), torch.from_numpy((chosen.process == 0).astype(np.float32))
    samples = {split: Sample(rows := torch.from_numpy(chosen.rows(split)), target[rows]) for split in Split}
    network = build_network(Network(kind="jet_sets", options={"width": 12}), events.levels, 1, seed=3)
    recipe = Recipe(epochs=8, batch_size=32, learning_rate=1e-2, patience=None)
    train(Training(network, events, samples[Split.TRAIN], samples[Split.VALIDATION], recipe))
    expected = evaluate(network, events, samples[Split.TEST], "binary")
    assert expected["accuracy"] > 0.8
    write_model(tmp_path / "model", network)
    again = read_model(tmp_path / "model")
    assert evaluate(again, events, samples[Split.TEST], "binary") == expected
    assert [feature.name for feature in again.levels[1]] == ["pt", "d_r"] and len(
        content_hash(tmp_path / "model")
    ) == 16
    tuned = build_network(Network(kind="jet_sets", options={"width": 12}), events.levels, 1)
    strategy, backbone = Strategy("frozen"), network.state_dict()
    train(
        Training(
            tuned, events, samples[Split.TRAIN], samples[Split.VALIDATION], recipe, strategy=strategy, backbone=backbone
        )
    )
    assert torch.equal(tuned.jets.weight, network.jets.weight) and not torch.equal(
        tuned.head.weight, network.head.weight
    )


def test_a_constituent_that_is_not_finite_is_traced_to_its_event(tmp_path):
    events = EventTensors.of(arrays.open_arrays(dataset(tmp_path, "wide")))
    values, bounds = events.inner[0]
    spoilt = values.clone()
    spoilt[bounds[events.offsets[40]], 1] = float("nan")  # in the first jet of event 40
    events = dataclasses.replace(events, inner=((spoilt, bounds),))
    sample = Sample(torch.arange(30, 60), torch.zeros(30))
    network = NetworkSpec("jet_sets").build(events.levels, 1)
    with pytest.raises(NonFinite, match=r"event 40 has d_r = nan"):
        train(Training(network, events, sample, sample, Recipe(epochs=1, patience=None)))


def test_events_that_a_network_cannot_take_are_refused(tmp_path):
    levels = EventTensors.of(arrays.open_arrays(dataset(tmp_path, "wide"))).levels
    with pytest.raises(ValueError, match=r"event_graph takes whole events .* these have pt, eta, charge / pt, d_r"):
        build_network(Network(), levels, 1)


def test_names_of_plugins_are_known_to_studies():
    assert {"wide", "narrow", "ttH"} <= set(known_names())
    study = Study(network=Network(kind="jet_sets"))
    study = dataclasses.replace(study, finetuning=dataclasses.replace(study.finetuning, tasks=("wide_vs_narrow",)))
    with pytest.raises(
        InvalidStudy, match=r"'jet_sets', which cannot be built for the events of \w+ .pt.*: ValueError"
    ):
        preview.check_study(study)  # its pretraining is on whole events
    study = dataclasses.replace(study, pretraining=Pretraining(objectives=()))
    preview.check_study(study)
    with pytest.raises(InvalidStudy, match=r"network\.kind is 'jet_set'; known are event_graph, jet_sets"):
        preview.check_study(dataclasses.replace(study, network=Network(kind="jet_set")))
    with pytest.raises(UnknownNetwork, match="known are event_graph, jet_transformer, jet_sets"):
        version_of("jet_set")


def test_a_network_of_the_package_is_nobodys_to_replace(monkeypatch):
    brought = plugins.brought
    taken = {"event_graph": lambda *_: None}
    monkeypatch.setattr(plugins, "brought", lambda kind: brought(kind) | (taken if kind == "NETWORKS" else {}))
    with pytest.raises(plugins.BadPlugin, match="'event_graph' is a kind that is there already"):
        preview.check_study(Study())
    assert NetworkSpec("event_graph").build((OBJECT,), 1).config()["n_outputs"] == 1


def test_options_of_a_plugins_network_are_checked_before_anything_runs():
    tasks = dataclasses.replace(Study().finetuning, tasks=("width",))
    study = Study(network=Network(kind="jet_sets", options={"widht": 8}), finetuning=tasks)
    with pytest.raises(
        InvalidStudy, match=r"network\.options is .*unexpected keyword.*'widht'; see jet_sets in .*jet_plugin"
    ):
        preview.check_study(study)


def test_a_default_option_of_a_plugins_network_makes_no_other_one():
    asked = [Network(kind="jet_sets", options=options) for options in ({}, {"width": 8}, {"width": 9})]
    default, given, other = map(said, asked)
    assert default == given != other


def test_a_task_of_a_plugin_has_its_name_whatever_it_is_asked_for_by():
    assert task("wide_vs_narrow") == task("width") and task("width").title == "wide against narrow jets"
    assert task_name({"signal": "wide", "background": "narrow", "task": "wide_vs_narrow"}) == "width"
    assert title("width") == "wide against narrow jets"


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ('{"a": Task("b", "", "x", "y")}', "give a Task of that name"),
        ('{"ttH_CP": Task("ttH_CP", "", "x", "y")}', r"tasks\.py: TASKS\['ttH_CP'\].*is there already"),
        ('{"a": Task("a", "", "WH", "ZH")}', r"TASKS\['a'\].*is there already, as Task\(name='WH_vs_ZH'"),
        ('{"ttH_vs_ttW": Task("ttH_vs_ttW", "", "WH", "tHq")}', "its name says ttH against ttW; choose a name without"),
        ('{"a": Task("a", "", "ttH", "ttH+WH")}', "'a' is ttH against WH.ttH, with a process twice"),
        ('{"a": Task("a", "", "../x", "ttH")}', r"a name in the task 'a' is '\.\./x': use letters"),
        ('{"a": Task("a", "", "x+", "ttH")}', "a name in the task 'a' is '': use letters"),
    ],
)
def test_a_task_that_cannot_be_used_is_refused(tmp_path, tasks, said):
    file = tmp_path / "tasks.py"
    file.write_text(f"from breakeven.study.spec import Task\nTASKS = {tasks}\n")
    plugins.add_files([file])
    with pytest.raises(plugins.BadPlugin, match=said):
        task("WH_vs_ZH")


def test_an_installed_package_brings_what_its_entry_point_names(tmp_path, monkeypatch):
    monkeypatch.setenv(plugins.VARIABLE, "")
    about = tmp_path / "my_physics-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-physics\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nmine = my_physics\n")
    shutil.copy(PLUGIN, tmp_path / "my_physics.py")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.modules.__globals__["_loaded"].cache_clear()
    try:
        assert "wide" in known_names() and task("width").signal == "wide"
        assert plugins.origin(source("wide"))["plugin"]
        assert (
            NetworkSpec("jet_sets").build(tuple(level.features for level in source("wide").schema.levels), 1).kind
            == "jet_sets"
        )
    finally:
        plugins.modules.__globals__["_loaded"].cache_clear()


def test_a_changed_plugin_makes_other_datasets_and_networks(tmp_path):
    before = store.Recipe(source("wide")).hash, version_of("jet_sets")
    changed = tmp_path / "changed.py"
    changed.write_text(PLUGIN.read_text() + "# another version\n")
    plugins.add_files([changed])
    with pytest.raises(plugins.BadPlugin, match=r"changed\.py: SOURCES has 'wide', which another plug-in has too"):
        source("wide")
    plugins.os.environ[plugins.VARIABLE] = str(changed)
    after = store.Recipe(source("wide")).hash, version_of("jet_sets")
    assert before[0] != after[0] and before[1] != after[1]


def use(monkeypatch, file: Path, text: str) -> Path:
    """Only this plug-in."""
    file.write_text(text)
    monkeypatch.setenv(plugins.VARIABLE, str(file))
    return file


def test_a_plugin_with_other_labels_gives_other_trials_on_the_very_same_events(tmp_path, monkeypatch):
    """Labels and derived features are not in the events' hash: the schema of a plug-in says what computes them."""
    ending = 'prefix="constituent_")))'
    text = PLUGIN.read_text()
    seen = []
    for value in (0, 1):
        labels = f'label_names=("many",), labels=lambda table: np.full((table.num_rows, 1), {value}, np.uint8))'
        use(monkeypatch, tmp_path / f"labels{value}.py", text.replace(ending, f"{ending[:-1]}, {labels}"))
        made = {name: dataset(tmp_path, name) for name in ("wide", "narrow")}
        assert arrays.open_arrays(made["wide"]).labels.tolist() == [[value]] * 200
        made_of = Ingredients({name: one.hash for name, one in made.items()}, {}, {}, {}, schema_versions(made))
        study = Study(networks={"": Network(kind="jet_sets")})
        cells = [Cell(task("width"), "none", strategy, 100) for strategy in ("scratch", "trees")]
        seen.append([made_of.datasets, *(trial(study, cell, "confirm", 1, 1.0, made_of).hash for cell in cells)])
    assert [one == other for one, other in zip(*seen, strict=True)] == [True, False, False]


def test_the_program_s_own_schemas_say_nothing_in_an_identity(datasets):
    assert schema_versions(datasets) == {}


@pytest.mark.parametrize(("name", "said"), [("../x", "is '../x': use letters"), ("a_vs_b", "without '_vs_'")])
def test_a_source_has_a_name_that_will_do(tmp_path, monkeypatch, name, said):
    use(monkeypatch, tmp_path / "named.py", PLUGIN.read_text().replace('ToyJets("wide"', f"ToyJets({name!r}"))
    with pytest.raises(plugins.BadPlugin, match=rf"named\.py: SOURCES\['{name}'\].*{said}"):
        known_names()


def test_a_schema_that_is_called_like_another_one_is_refused(tmp_path, monkeypatch):
    use(monkeypatch, tmp_path / "same.py", PLUGIN.read_text().replace('"toy jets 1"', "1"))
    with pytest.raises(
        plugins.BadPlugin, match=r"same\.py: the schema of SOURCES\['wide'\] has the version 1 of another"
    ):
        known_schemas()


@pytest.mark.parametrize("kind", ["package", "file", "file_in_package"])
def test_all_that_a_plugin_imports_beside_itself_is_hashed(tmp_path, monkeypatch, kind):
    """As a package with its network in a submodule, as a file that imports the one beside it, or its own package by name."""
    name, installed = f"toy_parts_{kind}", kind == "package"
    folder = tmp_path if kind == "file" else tmp_path / name
    folder.mkdir(exist_ok=True)
    parts = tmp_path / f"{name}.py" if kind == "file" else folder / "parts.py"
    text = PLUGIN.read_text()
    parts.write_text(text)
    plugin = folder / ("__init__.py" if installed else "mine.py")
    (folder / "__init__.py").touch() if kind == "file_in_package" else None
    imported = {"package": ".parts", "file": name, "file_in_package": f"{name}.parts"}[kind]
    plugin.write_text(f"from {imported} import NETWORKS, SOURCES, TASKS\nimport torch\n")
    (folder / "unused.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    if installed:
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nmine = {name}\n")
    monkeypatch.setenv(plugins.VARIABLE, "" if installed else str(plugin))
    plugins.modules.__globals__["_loaded"].cache_clear()

    def hashes() -> tuple[str, ...]:
        return (
            version_of("jet_sets"),
            store.Recipe(source("wide")).hash,
            plugins.origin(source("wide"))["plugin"],
        )

    try:
        before = hashes()
        (folder / "unused.py").write_text("# another version\n")
        plugins.modules.__globals__["_loaded"].cache_clear()
        assert hashes() == before
        parts.write_text(text + "# another version\n")
        assert hashes() == before, "what is loaded is the version of before"
        monkeypatch.setenv(plugins.PINNED, plugins.pinned()[plugins.PINNED])
        plugins.modules.__globals__["_loaded"].cache_clear()
        with pytest.raises(
            plugins.BadPlugin, match="have changed since the study began"
        ):  # in a worker that starts late
            plugins.modules()
        monkeypatch.delenv(plugins.PINNED)
        assert all(one != other for one, other in zip(hashes(), before, strict=True))
    finally:
        plugins.modules.__globals__["_loaded"].cache_clear()
        for module in [one for one in sys.modules if one.partition(".")[0] == name]:
            del sys.modules[module]


def test_a_file_of_a_relative_path_is_hashed_with_what_lies_beside_it(tmp_path, monkeypatch):
    (tmp_path / "toy_beside.py").write_text(PLUGIN.read_text())
    (tmp_path / "mine.py").write_text("from toy_beside import NETWORKS, SOURCES, TASKS\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    versions = []
    for path in ("mine.py", str(tmp_path / "mine.py")):
        monkeypatch.setenv(plugins.VARIABLE, path)
        versions.append((version_of("jet_sets"), plugins.origin(source("wide")), plugins.environment()))
    assert versions[0] == versions[1] and versions[0][1]
    del sys.modules["toy_beside"]


def test_a_single_file_is_hashed_as_ever():
    assert version_of("jet_sets") == file_hash(PLUGIN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NETWORKS = 3", r"bad\.py: NETWORKS is 3; write a dict"),
        ("NETWORKS = {'a': 3}", r"bad\.py: NETWORKS\['a'\] is 3, which has no __call__"),
        ("SOURCES = {'a': object}", r"bad\.py: SOURCES\['a'\] is <class 'object'>, which has no name, kind, schema"),
        ("TASKS = {1: 2}", r"bad\.py: TASKS is \{1: 2\}; write a dict"),
        ("TASKS = {'a': 'WH_vs_ZH'}", r"bad\.py: TASKS\['a'\] is 'WH_vs_ZH', which has no name, signal, background"),
    ],
)
def test_what_a_plugin_brings_in_another_form_is_told_with_its_file(tmp_path, monkeypatch, text, said):
    use(monkeypatch, tmp_path / "bad.py", text)
    with pytest.raises(plugins.BadPlugin, match=said):
        preview.check_study(Study())


def test_a_source_of_a_plugin_can_be_sent_and_hashed():
    one = source("wide")
    assert pickle.loads(pickle.dumps(one)) == one and hash(one) == hash(source("wide"))
    program = "import pickle, sys, breakeven.events.store; print(pickle.loads(sys.stdin.buffer.read()).name)"
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(one), capture_output=True, check=True)
    assert done.stdout == b"wide\n"  # as a worker takes it, which has imported our package and not the plug-in


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"gone\.py: no Python file"),
        ("1 / 0", r"gone\.py: the plug-in cannot be loaded: ZeroDivisionError"),
    ],
)
def test_plugins_that_cannot_be_used_are_named(tmp_path, content, message):
    path = tmp_path / "gone.py"
    if content is not None:
        path.write_text(content)
    plugins.add_files([path])
    with pytest.raises(plugins.BadPlugin, match=message):
        plugins.modules()


def test_two_names_for_the_same_events_are_refused(tmp_path):
    """Trials are found by the hash of events, and splits go by name: the record of one would be taken for the other."""

    class Seedless(type(source("wide"))):
        def make(self, n_events, seed, shard):
            return super().make(n_events, shard, shard)

    made, ledger = [], Ledger(tmp_path / "ledger").refresh()
    for name in ("first", "second"):
        recipe = store.Recipe(Seedless(name, 0.2), shard_events=100)
        store.make_shard(recipe, tmp_path, 0)
        made.append(store.complete(recipe, tmp_path, 1))
        if name == "first":
            there = [*made, dataset(tmp_path, "wide"), dataset(tmp_path, "narrow")]
            check_distinct_events(tmp_path, there, ledger)
            facts = {"device": "cpu", "device_seconds": 0.0, "started": now(), "ended": now(), "process": "first"}
            ledger.write([{"level": "generation", "record": made[0].hash, "outcome": "finished", **facts}])
    assert made[0].hash == made[1].hash
    with pytest.raises(plugins.BadPlugin, match=r"'second' and 'first' made the very same events.*use the seed"):
        check_distinct_events(tmp_path, made[1:], ledger)
    shutil.rmtree(tmp_path / "first")
    with pytest.raises(plugins.BadPlugin, match=r"'second' and 'first' .*is in the ledger: keep that name"):
        check_distinct_events(tmp_path, made[1:], ledger.refresh())


def test_what_a_plugin_brings_of_another_modules_class_has_the_plugins_version(tmp_path, monkeypatch):
    (tmp_path / "toy_common.py").write_text(PLUGIN.read_text())
    mine = tmp_path / "mine.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(plugins.VARIABLE, str(mine))
    hashes = []
    for factor in (1, 2):
        sources = "SOURCES = {'own': replace(SOURCES['wide'], name='own')}"
        mine.write_text(
            f"from dataclasses import replace\nfrom toy_common import SOURCES\nFACTOR = {factor}\n{sources}\n"
        )
        plugins.modules.__globals__["_loaded"].cache_clear()
        sys.modules.pop(plugins.modules.__globals__["_module_name"](mine), None)
        hashes.append(store.Recipe(source("own")).hash)
    plugins.modules.__globals__["_loaded"].cache_clear()
    assert len(set(hashes)) == 2


def test_an_identity_that_would_lose_what_it_says_is_refused():
    class Tuned(type(source("wide"))):
        def identity(self):
            return {**super().identity(), "seed": 5}

    with pytest.raises(plugins.BadPlugin, match="identity of the source 'wide' has 'seed'"):
        _ = store.Recipe(Tuned("wide", 0.2)).hash


def test_a_plugin_that_leaves_the_program_or_whose_path_cannot_be_handed_on_is_refused(tmp_path, monkeypatch):
    leaving = tmp_path / "leaving.py"
    leaving.write_text("raise SystemExit(0)\n")
    monkeypatch.setenv(plugins.VARIABLE, str(leaving))
    plugins.modules.__globals__["_loaded"].cache_clear()
    with pytest.raises(plugins.BadPlugin, match=r"leaving\.py: the plug-in cannot be loaded: SystemExit"):
        plugins.modules()
    monkeypatch.delenv(plugins.VARIABLE)
    with pytest.raises(plugins.BadPlugin, match="a path with ':' in it"):
        plugins.add_files([tmp_path / "a:b" / "p.py"])


def test_the_plugin_of_the_page_brings_events_a_network_and_a_task(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "studies" / "PLUGINS.md").read_text()
    muons = tmp_path / "muons.py"
    muons.write_text(page.partition("```python\n")[2].partition("```")[0])
    monkeypatch.setenv(plugins.VARIABLE, str(muons))
    plugins.modules.__globals__["_loaded"].cache_clear()
    words = page.partition("```sh\n")[2].partition("```")[0].replace("\\\n", " ").split()[2:]
    words[words.index("muons.py")] = str(muons)
    scaling = Path(__file__).parents[1] / "studies" / "scaling.py"
    assert cli._asked_of(scaling, words).study.network.kind == "deep_set", "refused, or not what was asked for"
    try:
        recipe = store.Recipe(source("hard"), shard_events=50)
        store.make_shard(recipe, tmp_path, 0)
        events = EventTensors.of(arrays.open_arrays(store.complete(recipe, tmp_path, 1)))
        network = build_network(Network(kind="deep_set", options={"width": 8}), events.levels, 1, seed=3)
        sample = Sample(torch.arange(50), torch.ones(50))
        losses = train(
            Training(network, events, sample, sample, Recipe(epochs=3, learning_rate=0.1, patience=None))
        ).curve
        assert losses[-1].validation_loss < losses[0].validation_loss
    finally:
        plugins.modules.__globals__["_loaded"].cache_clear()
