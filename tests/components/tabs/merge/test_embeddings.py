"""The decoder's input, token by token and by region."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.tabs.merge import embeddings
from playground.merge.embed_views import compare_groups, embed_groups
from playground.pipeline import Run
from tests.components.html_reader import read_html
from tests.components.tabs.merge.merged import plain_decoder_input


def test_the_strip_is_open_to_the_pointer(image_run: Run) -> None:
    page = read_html(embeddings.strip(image_run))
    (span,) = image_run.inputs.spans
    assert [each for each in page.elements if "data-pointer" in each.attrs]
    assert page.find(data_start=str(span.start), data_end=str(span.end))


def test_values_and_norms_are_those_of_the_decoders_input(image_run: Run) -> None:
    embeds = plain_decoder_input(image_run)["inputs_embeds"][0]
    table: Any = image_run.engine.model.get_input_embeddings()
    plain = table.weight[image_run.inputs.input_ids[0]].detach()
    figure = embeddings.values(image_run)
    assert figure is not None
    before, after = figure.data
    np.testing.assert_allclose(before.z, plain[:, : len(before.z)].T)
    np.testing.assert_allclose(after.z, embeds[:, : len(after.z)].T, atol=1e-6)
    text, pads, features = embeddings.norms(image_run).data
    np.testing.assert_allclose(features.y, embeds[features.x.tolist()].norm(dim=-1), rtol=1e-5)
    for part in (text, pads):
        np.testing.assert_allclose(part.y, plain[part.x.tolist()].norm(dim=-1), rtol=1e-5)
    span = image_run.inputs.spans[0]
    assert features.x.tolist() == pads.x.tolist() == list(range(span.start, span.end))


def test_the_scatter_holds_every_token_once(image_run: Run) -> None:
    for shown in ("directions", "embeddings"):
        series = embeddings.pca(image_run, shown).data
        indices = [
            int(entry[0])
            for trace in series
            if trace.customdata is not None
            for entry in trace.customdata
        ]
        assert sorted(indices) == list(range(image_run.inputs.num_tokens))


def test_directions_forget_the_lengths(image_run: Run) -> None:
    """Along the unit sphere no two points are further apart than its diameter."""
    spread = {
        shown: max(float(np.ptp(trace.x)) for trace in embeddings.pca(image_run, shown).data)
        for shown in ("directions", "embeddings")
    }
    assert spread["directions"] <= 2 < spread["embeddings"]


def test_regions_are_shown_in_this_runs_numbers(image_run: Run) -> None:
    numbers = compare_groups(embed_groups(image_run.inputs, image_run.merged))
    text, image = numbers.names.index("text"), numbers.names.index("image")
    words = embeddings.regions(image_run)
    assert f"{numbers.norms[image] / numbers.norms[text]:.3g} times" in words
    assert f"{numbers.cosines[image, image]:.2f} between two image features" in words
    rows = read_html(embeddings.groups(image_run)).rows()
    assert [row[0] for row in rows[1:]] == [
        *("text tokens", "special tokens", "placeholder <|image_pad|>", "image features")
    ]
    assert rows[3][1] == "1"
    assert rows[3][5] == "–", "one vector has no cosine with another of its group"
