"""The weights of two checkpoints: which modules differ, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import plotly.graph_objects as go

import playground
from components.charts.compare import plot_weight_changes, share_words
from components.parts.part import Part
from components.tabs.compare.second import ABSENT, both_names, has_second, second_engine
from components.views.facts import fact_html
from components.views.tables import Mono, table_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.compare.weights import ModuleChange, WeightChanges

STAGES = (
    (mark("patch embedding"), "model.visual.patch_embed"),
    (mark("position grid"), "model.visual.pos_embed"),
    (mark("vision blocks"), "model.visual.blocks"),
    (mark("merger"), "model.visual.merger"),
    (mark("DeepStack mergers"), "model.visual.deepstack_merger_list"),
    (mark("token embeddings"), "model.language_model.embed_tokens"),
    (mark("decoder layers"), "model.language_model.layers"),
    (mark("final norm"), "model.language_model.norm"),
    ("lm_head", "lm_head"),
)
# By the second model: its weights never change, and comparing 2B parameters takes seconds.
_KNOWN: WeakKeyDictionary[object, WeightChanges] = WeakKeyDictionary()

PART = Part(
    "weights",
    mark("Weights"),
    stage="compare",
    intro=mark(
        "Every module of the second checkpoint compared with the same module of the first: the "
        "norm of the difference relative to the norm of the weights. A module is untouched if "
        "every element is equal."
    ),
    layout=("words", ("compared",), "stages", "tree", "modules"),
    shown=has_second,
    absent=ABSENT,
)


@PART.experiment(mark("Compare the weights"), auto=True, primary=True)
def compared(run: Run, progress: Progress) -> Iterator[WeightChanges]:
    """Compare all modules."""
    model = second_engine(run).model
    if model not in _KNOWN:
        _KNOWN[model] = playground.compare.weights.compare_weights(
            run.engine.model, model, progress=progress
        )
    yield _KNOWN[model]


@PART.html(needs=("compared",))
def words(run: Run, changes: WeightChanges | None) -> str:
    """Which checkpoints are compared, and how many modules differ."""
    first, second = both_names(run)
    names = say("First: {first}. Second: {second}.", first=first, second=second)
    if changes is None:
        return fact_html(names)
    whole = changes.below("")
    if whole.is_untouched:
        return fact_html(names, say("All weights are equal."))
    found = say(
        "{touched:,} of {modules:,} modules differ, in {changed:,} of {count:,} weights.",
        touched=len(changes.touched),
        modules=len(changes.modules),
        changed=whole.num_changed,
        count=whole.num_parameters,
    )
    return fact_html(names, found, *_adapter_words(run))


def _adapter_words(run: Run) -> list[str]:
    adapter = second_engine(run).origin.adapter
    if adapter is None:
        return []
    return [
        say(
            "The second checkpoint is an adapter ({kind}, rank {rank}, scale {scale:g}), merged "
            "into its base.",
            kind=adapter.kind,
            rank=adapter.rank,
            scale=adapter.scale,
        )
    ]


@PART.html(needs=("compared",))
def stages(_run: Run, changes: WeightChanges | None) -> str:
    """The change of each stage of the forward pass."""
    if changes is None:
        return ""
    below = [(say(label), changes.below(path)) for label, path in STAGES]
    rows = [
        (label, share_words(change), change.num_changed, change.num_parameters)
        for label, change in below
        if change.num_parameters
    ]
    headers = (
        say("Stage"),
        say("Relative change"),
        say("Changed elements"),
        say("Parameters"),
    )
    return table_html(headers, rows, say("Stages in the order of the forward pass"), right=(1,))


@PART.chart(mark("Relative change of the weights"), needs=("compared",))
def tree(run: Run, changes: WeightChanges | None) -> go.Figure | None:
    """All modules as tiles, coloured by their change."""
    if changes is None:
        return None
    nodes = playground.model_facts.module_tree(run.engine.model)
    return plot_weight_changes(nodes, {node.path: changes.below(node.path) for node in nodes})


@PART.html(needs=("compared",))
def modules(run: Run, changes: WeightChanges | None) -> str:
    """The modules that differ, the most changed first."""
    if changes is None or not changes.touched:
        return ""
    adapter = second_engine(run).origin.adapter
    ranks = {} if adapter is None else {module.path: module.rank for module in adapter.modules}
    order = sorted(changes.touched, key=lambda module: -module.relative)
    headers = (
        say("Module"),
        say("Class"),
        say("Relative change"),
        say("Norm of the change"),
        say("Largest |Δ|"),
        *((say("Rank of the adapter"),) if ranks else ()),
    )
    rows = [_module_row(module, ranks) for module in order]
    return table_html(headers, rows, say("Modules that differ"), right=(2,))


def _module_row(
    module: ModuleChange, ranks: dict[str, int]
) -> tuple[Mono | str | float | int | None, ...]:
    row = (
        Mono(module.path),
        module.kind,
        share_words(module),
        module.change_norm,
        module.max_abs,
    )
    return (*row, ranks.get(module.path)) if ranks else row
