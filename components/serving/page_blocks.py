"""The site's ``gr.Blocks``: Gradio's, where it says, starts and answers what this page needs.

The page has more than a thousand components, and a run more than two hundred outputs. What Gradio
does for every component, whether it changes or not, is what took the page's time.
"""

from __future__ import annotations

import copy
from typing import Any

import gradio as gr
from gradio.blocks import convert_component_dict_to_list
from gradio.context import Context

from components.serving.faults import clear_faults
from components.serving.language_switch import PATHS
from playground.language import LANGUAGES, Language, speaking

SKIPPED = gr.skip()


class PageBlocks(gr.Blocks):
    """Pages in several languages: each event is answered in the language of its page."""

    is_built = False

    def finish(self) -> None:
        """Describe the components of all pages, once: from here on none is added or changed.

        Gradio asks for the description eight times before the first page, each time going through
        every component's signature.
        """
        described = self.default_config.get_config()
        self.default_config.get_config = lambda renderable=None: described  # type: ignore[method-assign]
        self.is_built = True

    def get_config_file(self) -> Any:
        """As Gradio's; while the pages are being built, which nobody can see, only their names."""
        return super().get_config_file() if self.is_built else {"pages": self.pages}

    async def process_api(self, block_fn: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As Gradio's, which hands this context on to the thread that answers."""
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        with speaking(_language_at(function.page)), clear_faults():
            return await super().process_api(block_fn, *args, **kwargs)

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As Gradio's, of the outputs that change.

        For one that is skipped Gradio builds its component anew, and tells the page of every
        skipped ``gr.HTML`` that its ``props`` have changed, so that the browser looks for it among
        all components and draws it again. A ``gr.State`` stays on the server: the page is not told.
        """
        outputs = list(block_fn.outputs)
        values = _list_values(outputs, predictions)
        if values is None:
            return await super().postprocess_data(block_fn, predictions, state)
        changed = [place for place, value in enumerate(values) if not _is_skipped(value)]
        told: list[Any] = [gr.skip() for _ in outputs]
        if changed:
            function = copy.copy(block_fn)
            function.outputs = [outputs[place] for place in changed]
            sent = [values[place] for place in changed]
            answers = await super().postprocess_data(
                function, sent if len(sent) > 1 else sent[0], state
            )
            for place, answer in zip(changed, answers, strict=True):
                if not outputs[place].stateful:
                    told[place] = answer
        return told

    def handle_streaming_diffs(
        self,
        block_fn: Any,
        data: list[Any],
        session_hash: str | None,
        run: str | None,
        final: bool,
        simple_format: bool = False,
    ) -> list[Any]:
        """As Gradio's, which sends what has changed since the message before, as edits.

        The page makes edits of an object in place, in the message before too, which it may not have
        shown yet: "choices and value" followed at once by "nothing" was lost. So an object is
        replaced as a whole; text, which cannot change in place, still grows by what is new.
        """
        runs = self.pending_diff_streams.get(session_hash, {})
        is_first, values = run not in runs, list(data)
        edits: list[Any] = super().handle_streaming_diffs(
            block_fn, data, session_hash, run, final, simple_format
        )
        if is_first or final or simple_format:
            return edits
        return [
            edit if not edit or isinstance(value, str) else [["replace", [], value]]
            for edit, value in zip(edits, values, strict=True)
        ]


def blocks_around() -> gr.Blocks:
    """The ``gr.Blocks`` that is being built."""
    blocks = Context.root_block
    if blocks is None:
        raise RuntimeError("Call it inside a gr.Blocks.")
    return blocks


def _list_values(outputs: list[Any], predictions: Any) -> list[Any] | None:
    """What a handler gave, by output; None for anything but a value for each, Gradio's to judge."""
    if not outputs:
        return None
    if _is_skipped(predictions):
        return [predictions] * len(outputs)
    if isinstance(predictions, dict) and predictions:
        predictions = convert_component_dict_to_list(outputs, predictions)
    if len(outputs) == 1:
        return [predictions]
    fits = isinstance(predictions, list | tuple) and len(predictions) == len(outputs)
    return list(predictions) if fits else None


def _is_skipped(value: Any) -> bool:
    return isinstance(value, dict) and value == SKIPPED


def _language_at(path: str) -> Language:
    return next((each for each in LANGUAGES if PATHS[each] == path), "en")
