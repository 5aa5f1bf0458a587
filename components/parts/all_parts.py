"""All parts of the page by key, and what their needs refer to."""

from __future__ import annotations

from collections.abc import Iterator

from components.parts.controls import Control
from components.parts.part import SELECTION, Experiment, Fold, Item, Output, Part, StageParts


class Parts:
    """All parts by key, and what their needs refer to.

    Raises:
        ValueError: two parts share a key, or a need, a layout or ``again`` names something that
            does not exist.
    """

    def __init__(self, stages: tuple[StageParts, ...]) -> None:
        self.stages = stages
        self.by_key: dict[str, Part] = {}
        self.stage_of: dict[str, StageParts] = {}  # by the part's key
        for stage in stages:
            for part in stage.all_parts:
                if part.key in self.by_key:
                    raise ValueError(f"Two parts are named {part.key}.")
                self.by_key[part.key] = part
                self.stage_of[part.key] = stage
        for part in self.by_key.values():
            self._check(part)

    def control(self, full_name: str) -> Control | None:
        """The control with this name: ``decoder.attention.layer``."""
        key, _, name = full_name.rpartition(".")
        part = self.by_key.get(key)
        return None if part is None else part.control(name)

    def experiment(self, full_name: str) -> Experiment | None:
        """The experiment with this name."""
        key, _, name = full_name.rpartition(".")
        part = self.by_key.get(key)
        return None if part is None else part.experiments.get(name)

    def _check(self, part: Part) -> None:
        own = {*part.outputs, *part.experiments, *(control.id for control in part.controls)}
        owners: list[Output | Experiment] = [*part.outputs.values(), *part.experiments.values()]
        for owner in owners:
            for need in owner.needs:
                name = part.full_name(need)
                if name != SELECTION and not (self.control(name) or self.experiment(name)):
                    raise ValueError(f"{part.key}.{owner.name} needs {need}, which is not there.")
        for experiment in part.experiments.values():
            if self.experiment(part.finding_name(experiment)) is None:
                raise ValueError(f"{part.key}.{experiment.name} gives {experiment.gives}.")
            for control in (*experiment.again, *experiment.afterwards, *experiment.when):
                if self.control(part.full_name(control)) is None:
                    raise ValueError(f"{part.key}.{experiment.name}: there is no {control}.")
        named = list(_names(part.items))
        missing = {name for name in own if name not in named and not _is_unseen(part, name)}
        if missing or len(named) != len(set(named)) or not own.issuperset(named):
            raise ValueError(f"The layout of {part.key} does not fit its names: {named}, {own}.")


def _names(items: tuple[Item, ...]) -> Iterator[str]:
    for item in items:
        if isinstance(item, str):
            yield item
        elif isinstance(item, tuple):
            yield from item
        elif isinstance(item, Fold):
            yield from _names(item.items)


def _is_unseen(part: Part, name: str) -> bool:
    """Whether something needs no room in the layout: set by clicks, or started automatically."""
    control = part.control(name)
    if control is not None:
        return control.kind == "hidden"
    return name in part.experiments and not part.experiments[name].label
