"""The public API: one stateless endpoint per stage and one for boxes, plain JSON in and out.

Sizes are ``[width, height]``, times are in milliseconds, probabilities in [0, 1], and logarithms
natural. The functions' signatures and docstrings become the endpoints' schemas, also for MCP
clients.
"""

# No `from __future__ import annotations` here: Gradio reads the return types at runtime and would
# treat a postponed one as "any value".

import statistics

import gradio as gr

import playground
from components.api.answers import (
    CacheAnswer,
    DecoderAnswer,
    MergeAnswer,
    PreprocessAnswer,
    SamplingAnswer,
    Settings,
    VisionAnswer,
    answer_token_answers,
    column_answer,
    embeds_norms,
    kv_answer,
    lens_row,
    list_of_objects,
    merge_answer,
    next_token_answers,
    plain_numbers,
    preprocess_answer,
)
from components.api.calls import Calls, File
from components.api.grounding import Grounding
from components.compute.engine_host import EngineHost
from components.compute.jobs import stop_without_client
from components.parts.experiments import MODEL_QUEUE
from components.prompt.checks import check_text, check_whole
from components.prompt.uploads import refuse_addresses
from components.serving.page_blocks import blocks_around
from playground.sampling.settings import check_columns

MAX_TOP_K = 50
NEW_TOKENS = 64
API_LIMIT = 4  # calls at once; the engine's own lock lets one forward through at a time


class Endpoints(Calls):
    """The functions of the stages' endpoints."""

    def preprocess(
        self,
        image: File,
        text: str,
        system: str = "",
        max_pixels: int | None = None,
        enable_thinking: bool | None = None,
    ) -> PreprocessAnswer:
        """Turn an image and a text into the input tensors of Qwen3-VL's forward pass.

        Shows the rendered chat template, every token with its bytes and role, the patch grid and
        the tensors' shapes.

        Args:
            image: an uploaded image, or null for a text-only prompt
            text: the user's message, such as "Describe this image."
            system: the system prompt; empty for none
            max_pixels: the image is scaled down to at most this many pixels; null for the default
            enable_thinking: the chat template's argument, where it takes one; null for its default

        Returns:
            rendered_prompt, tokens, image_grid_thw (patches), num_image_tokens, sizes, tensors
        """
        thinking = {"thinking": enable_thinking}
        run = self._run("preprocess", image, text, system, max_pixels, **thinking)
        return preprocess_answer(run.inputs)

    def vision_tower(
        self,
        image: File,
        text: str,
        system: str = "",
        max_pixels: int | None = None,
        block: int = 0,
    ) -> VisionAnswer:
        """Run the vision tower and return the patch features at one block.

        Args:
            image: an uploaded image; null gives no patches
            text: the user's message
            system: the system prompt; empty for none
            max_pixels: the image is scaled down to at most this many pixels; null for the default
            block: use the input of this block, from 0; pass the number of blocks for the tower's
                output

        Returns:
            num_patches, num_merged_tokens, deepstack_layers, pca (red, green, blue from 0 to 255
            of each patch, [h][w][3]) and norms (of each patch's features, [h][w])
        """
        facts = self._engine().facts
        block = check_whole("block", block, low=0, high=facts.vision_depth)
        run = self._run("vision", image, text, system, max_pixels)
        tower = run.vision.image
        pca: list[list[list[int]]] = []
        norms: list[list[float]] = []
        if tower is not None:
            maps, span = playground.vision.maps, run.inputs.spans[0]
            pca = maps.patch_pca(tower, span, block).rgb.tolist()
            norms = plain_numbers("patch norms", maps.patch_norms(tower, span, block))
        return {
            "num_patches": 0 if tower is None else len(tower.hidden_states[0]),
            "num_merged_tokens": 0 if tower is None else len(tower.pooler_output),
            "deepstack_layers": list(facts.taps),
            "pca": pca,
            "norms": norms,
        }

    def merge(
        self, image: File, text: str, system: str = "", max_pixels: int | None = None
    ) -> MergeAnswer:
        """Replace the placeholder tokens with the image features, and compute the positions.

        Args:
            image: an uploaded image, or null for a text-only prompt
            text: the user's message
            system: the system prompt; empty for none
            max_pixels: the image is scaled down to at most this many pixels; null for the default

        Returns:
            position_ids ([t, h, w][seq]), rope_delta, visual_positions (sequence indices) and
            inputs_embeds_norms ([seq])
        """
        run = self._run("merge", image, text, system, max_pixels)
        return merge_answer(run, plain_numbers("embedding norms", embeds_norms(run)))

    def decoder(
        self,
        image: File,
        text: str,
        system: str = "",
        max_pixels: int | None = None,
        layer: int | None = None,
        top_k: int = 10,
        answer: str | None = None,
    ) -> DecoderAnswer:
        """Run the decoder: next tokens, logit lens, residual norms, KV cache.

        Args:
            image: an uploaded image, or null for a text-only prompt
            text: the user's message
            system: the system prompt; empty for none
            max_pixels: the image is scaled down to at most this many pixels; null for the default
            layer: logit lens and norms of the input of this layer, from 0; null for the final norm
            top_k: how many tokens to list, most likely first
            answer: a text to follow the prompt as its answer; null for the prompt alone

        Returns:
            next_token, logit_lens ([seq][top_k], of the layer), residual_norms ([seq], of the
            layer), kv (shape: layers, keys and values, batch, heads, seq, head_dim), parity (of the
            prompt, against one plain model(**inputs)) and answer_tokens (log-probability in nats,
            share of the attention on the image, and the layer from whose input on the token is the
            most likely one; empty without an answer)
        """
        facts = self._engine().facts
        if layer is None:
            layer = facts.num_layers
        layer = check_whole("layer", layer, low=0, high=facts.num_layers)
        top_k = check_whole("top_k", top_k, low=1, high=min(MAX_TOP_K, facts.vocab_size))
        run = self._run("decoder", image, text, system, max_pixels)
        parity, shown = run.check_parity(stop_without_client), run
        if answer is not None:
            text = check_text("answer", answer)
            ids = playground.sampling.score.read_answer(run.engine, text)
            extend = playground.answer.stage.run_with_answer
            shown = extend(run, ids, progress=stop_without_client)
        norms = playground.decoder.stage.residual_norms(shown.decoded)[layer]
        return {
            "next_token": next_token_answers(shown, top_k),
            "logit_lens": lens_row(shown, layer, top_k),
            "residual_norms": plain_numbers("residual norms", norms),
            "kv": kv_answer(shown),
            "parity": {"max_abs_diff": parity.max_abs_diff},
            "answer_tokens": [] if answer is None else answer_token_answers(shown),
        }

    def sampling(
        self,
        image: File,
        text: str,
        system: str = "",
        max_pixels: int | None = None,
        settings: list[Settings] | None = None,
        max_new_tokens: int | None = None,
    ) -> SamplingAnswer:
        """Generate under up to 8 sampling settings side by side, from one prefill.

        Args:
            image: an uploaded image, or null for a text-only prompt
            text: the user's message
            system: the system prompt; empty for none
            max_pixels: the image is scaled down to at most this many pixels; null for the default
            settings: one object per run; a missing setting is off, and temperature 0 is greedy
            max_new_tokens: the most tokens per run; null for 64, or for the server's limit if that
                is lower

        Returns:
            runs (settings, text, and per token its probability and entropy in nats under the
            filtered distribution, with the most likely candidates and the filter that removed them)
            and first_divergence (the first step at which the runs differ, or null)
        """
        sent = [{}] if settings is None else settings
        columns = check_columns(list_of_objects(sent))
        max_new_tokens = self._new_tokens(max_new_tokens, NEW_TOKENS)
        run = self._run("decoder", image, text, system, max_pixels)
        sampled = playground.sampling.stage.run_sampling(
            run.engine,
            run.inputs,
            run.merged,
            run.decoded,
            columns,
            max_new_tokens=max_new_tokens,
            progress=stop_without_client,
        )
        return {
            "runs": [
                column_answer(trace, {*Settings.__annotations__, *given})
                for trace, given in zip(sampled.traces, sent, strict=True)
            ],
            "first_divergence": sampled.first_divergence,
        }

    def cache_reuse(
        self,
        first_text: str,
        second_text: str,
        image: File = None,
        second_image: File = None,
        system: str = "",
        max_pixels: int | None = None,
    ) -> CacheAnswer:
        """Serve a second request from scratch and with the first one's KV cache, and compare both.

        Args:
            first_text: the message of the request that fills the cache
            second_text: the message of the request that may use it
            image: an uploaded image for the first request, or null
            second_image: an uploaded image for the second request; null to use the first one
            system: the system prompt of both requests; empty for none
            max_pixels: images are scaled down to at most this many pixels; null for the default

        Returns:
            hit, shared_tokens, computed_tokens, miss_ms and hit_ms (medians of 5), kv_bytes (of
            the reused tokens) and max_abs_diff (of the logits, hit against miss)
        """
        first = self._run("preprocess", image, first_text, system, max_pixels)
        other = image if second_image is None else second_image
        second = self._run("preprocess", other, second_text, system, max_pixels)
        reuse = playground.kv_cache.stage.run_cache_reuse(
            first.engine, first.inputs, second.inputs, progress=stop_without_client
        )
        return {
            "hit": reuse.hit,
            "shared_tokens": reuse.shared_tokens,
            "computed_tokens": reuse.computed_tokens,
            "miss_ms": statistics.median(reuse.miss_ms),
            "hit_ms": statistics.median(reuse.hit_ms),
            "kv_bytes": reuse.kv_bytes,
            "max_abs_diff": reuse.max_abs_diff,
        }


def add_api(host: EngineHost) -> None:
    """Add the endpoints; call it inside the page's ``gr.Blocks``."""
    endpoints = Endpoints(host)
    blocks = blocks_around()
    for function in (
        endpoints.preprocess,
        endpoints.vision_tower,
        endpoints.merge,
        endpoints.decoder,
        endpoints.sampling,
        endpoints.cache_reuse,
        Grounding(host).grounding,
    ):
        known = set(blocks.blocks)
        gr.api(  # type: ignore[attr-defined]  # public, but not among Gradio's exports
            function,
            api_name=function.__name__,
            concurrency_id=MODEL_QUEUE,
            concurrency_limit=API_LIMIT,
        )
        for index in set(blocks.blocks) - known:
            refuse_addresses(blocks.blocks[index])
