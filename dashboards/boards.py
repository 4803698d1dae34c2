#!/usr/bin/env python
"""The Grafana boards, from lists of panels: `python dashboards/boards.py` writes grafana/*.json anew.

A panel is a title, a unit and one expression for each line; every name of ours in an expression comes from
breakeven.distributed.gauges, so that no board asks for what is no longer there. Needs grafana-foundation-sdk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breakeven.distributed import gauges
from breakeven.distributed.gauges import Series

FOLDER = Path(__file__).parent / "grafana"
DATASOURCE = "prometheus"
"""Identifier of the data source that grafana/provisioning has."""


@dataclass(frozen=True)
class Line:
    """One expression and the legend of what it gives."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture of a board.

    unit: Grafana's name of a unit.  stacked: lines lie on each other.  number: the last value alone.
    needs: what must be there for it to show anything, such as "GPU"; empty: a study that pretrains and finetunes.
    """

    title: str
    meaning: str
    lines: tuple[Line, ...]
    unit: str = "short"
    stacked: bool = False
    number: bool = False
    needs: str = ""


@dataclass(frozen=True)
class Board:
    """One page, with its panels row by row."""

    name: str
    title: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of its panels."""
        return tuple(panel for _, panels in self.rows for panel in panels)


def of(series: Series, **labels: str) -> str:
    """The series of the study that is picked at the top of the page, with these labels."""
    wanted = {"study": "$study", **labels}
    return series.exported + "{" + ", ".join(f'{name}="{value}"' for name, value in wanted.items()) + "}"


STUDY = Board(
    "breakeven-study",
    "breakeven: study",
    (
        ("Where it stands", (
            Panel("Trials", "By state. Pruned: search trials that were losing.",
                  (Line(f"max by (state) ({of(gauges.TRIALS)})", "{{state}}"),), stacked=True),
            Panel("Trials per minute", "That ended lately.", (Line(f"max({of(gauges.TRIALS_PER_MINUTE)})", "trials"),)),
            Panel("Time left", "As the study itself expects it.", (Line(f"max({of(gauges.SECONDS_LEFT)})", "left"),), "s",
                  number=True),
            Panel("Stage in progress", "Share of its units that are done.",
                  (Line(f"max by (stage) ({of(gauges.WORK_DONE)}) / (max by (stage) ({of(gauges.WORK_TOTAL)}) > 0)",
                        "{{stage}}"),),
                  "percentunit"),
        )),
        ("What it costs", (
            Panel("Device-hours", "What became of them. Wasted: failed, interrupted and repeated tries.",
                  (Line(f"max by (device, use) ({of(gauges.DEVICE_HOURS)})", "{{device}} {{use}}"),), "h", stacked=True),
            Panel("Share wasted", "Of all device-hours.",
                  (Line(f'sum({of(gauges.DEVICE_HOURS, use="wasted")}) / (sum({of(gauges.DEVICE_HOURS)}) > 0)', "wasted"),),
                  "percentunit"),
            Panel("Failed trials", "By kind of reason.", (Line(f"max by (reason) ({of(gauges.FAILURES)})", "{{reason}}"),),
                  needs="a failed trial"),
        )),
        ("What comes of it", (
            Panel("Test accuracy by size, finetuned", "Mean over tasks and seeds that have ended.",
                  (Line(f'max by (size) ({of(gauges.MERIT, strategy="finetune")})', "{{size}} events"),), "percentunit"),
            Panel("Test accuracy by size, from scratch", "Mean over tasks and seeds that have ended.",
                  (Line(f'max by (size) ({of(gauges.MERIT, strategy="scratch")})', "{{size}} events"),), "percentunit"),
        )),
    ),
)  # fmt: skip

PRETRAINING = Board(
    "breakeven-pretraining",
    "breakeven: pretraining",
    (
        ("Training", (
            Panel("Loss", "After each epoch.",
                  (Line(f"max by (pretraining, split) ({of(gauges.LOSS)})", "{{pretraining}} {{split}}"),)),
            Panel("Events per second", "Training events in the last epoch, all workers together.",
                  (Line(f"max by (pretraining) ({of(gauges.EVENTS_PER_SECOND)})", "{{pretraining}}"),)),
            Panel("Workers", "Data-parallel, as the group was started.",
                  (Line(f"max by (pretraining) ({of(gauges.WORKERS)})", "{{pretraining}}"),)),
        )),
        ("Ray Train", (
            Panel("Controller", "State of Ray Train's controller: 1 where it is in that state.",
                  (Line("max by (ray_train_controller_state) (ray_train_controller_state)", "{{ray_train_controller_state}}"),)),
            Panel("Start of the worker group", "Seconds that starting it, and starting it again, have taken in all.",
                  (Line("max(ray_train_worker_group_start_total_time_s)", "start"),), "s"),
            Panel("Checkpoints", "Seconds that training waited for its reports and checkpoints in all.",
                  (Line("max(ray_train_report_total_blocked_time_s)", "blocked"),), "s"),
        )),
        ("Devices", (
            Panel("GPU use", "Per card.", (Line("ray_node_gpus_utilization / 100", "{{instance}} {{GpuIndex}}"),), "percentunit",
                  needs="GPU"),
            Panel("GPU power", "Per card.", (Line("ray_node_gpu_power_milliwatts / 1000", "{{instance}} {{GpuIndex}}"),), "watt",
                  needs="GPU"),
        )),
    ),
)  # fmt: skip

CLUSTER = Board(
    "breakeven-cluster",
    "breakeven: cluster",
    (
        ("Nodes", (
            Panel("Nodes", "That answer.", (Line("count(max by (instance) (ray_node_mem_total))", "nodes"),)),
            Panel("Processor use", "Of each node.",
                  (Line("max by (instance) (ray_node_cpu_utilization) / 100", "{{instance}}"),), "percentunit"),
            Panel("Memory", "Used of each node.", (Line("max by (instance) (ray_node_mem_used)", "{{instance}}"),), "bytes"),
            Panel("Disk", "Free on each node.", (Line("max by (instance) (ray_node_disk_free)", "{{instance}}"),), "bytes"),
        )),
        ("Ray", (
            Panel("Actors", "By state.", (Line("sum by (State) (ray_actors)", "{{State}}"),), stacked=True),
            Panel("Network", "Received and sent per second.",
                  (Line("sum(ray_node_network_receive_speed)", "received"), Line("sum(ray_node_network_send_speed)", "sent")),
                  "Bps"),
        )),
    ),
)  # fmt: skip

BOARDS = (STUDY, PRETRAINING, CLUSTER)


def as_json(board: Board) -> str:
    """The board as Grafana reads it."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    return JSONEncoder(sort_keys=True, indent=1).encode(_built(board)) + "\n"


def _built(board: Board) -> Any:
    from grafana_foundation_sdk.builders import dashboard
    from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

    source = DataSourceRef("prometheus", DATASOURCE)
    page = dashboard.Dashboard(board.title).uid(board.name).refresh("10s").time("now-1h", "now").timezone("browser")
    page = page.tags(["breakeven"]).readonly()
    if any("$study" in line.expression for panel in board.panels for line in panel.lines):
        studies = dashboard.QueryVariable("study").label("study").datasource(source)
        page = page.with_variable(
            studies.query(f"label_values({gauges.TRIALS.exported}, study)").refresh(
                VariableRefresh.ON_TIME_RANGE_CHANGED
            )
        )
    for title, panels in board.rows:
        page = page.with_row(dashboard.Row(title))
        for panel in panels:
            page = page.with_panel(_panel(panel, source, span=24 // min(len(panels), 3)))
    return page.build()


def _panel(panel: Panel, source: Any, span: int) -> Any:
    from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
    from grafana_foundation_sdk.models.common import StackingMode

    if panel.number:
        built = stat.Panel()
    else:
        built = timeseries.Panel().fill_opacity(20 if panel.stacked else 0)
        if panel.stacked:
            built = built.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    needs = f" Needs: {panel.needs}." if panel.needs else ""
    built = (
        built.title(panel.title)
        .description(panel.meaning + needs)
        .unit(panel.unit)
        .datasource(source)
        .span(span)
        .height(8)
    )
    for letter, line in zip("ABCDEF", panel.lines, strict=False):
        query = prometheus.Dataquery().ref_id(letter).expr(line.expression).legend_format(line.legend)
        built = built.with_target(query)
    return built


def main(boards: Sequence[Board] = BOARDS) -> None:
    """Write the boards."""
    for board in boards:
        path = FOLDER / f"{board.name}.json"
        path.write_text(as_json(board), encoding="utf-8")
        print(f"{path}: {len(board.panels)} panels")


if __name__ == "__main__":
    main()
