from __future__ import annotations

import numpy as np

from components.charts.merge_embeds import (
    GROUP_MARKS,
    plot_embed_norms,
    plot_embed_pca,
    plot_embed_values,
)

# Two text tokens, an image of three tokens, and a text token.
INDICES = np.arange(6)
KINDS = ["special", "text", "image", "image", "image", "text"]
LABELS = ["&lt;|im_start|&gt;", "user", "p", "p", "p", "?"]


def test_values_before_stand_above_those_after() -> None:
    values = np.arange(2 * 3 * 6, dtype=np.float32).reshape(2, 3, 6)
    figure = plot_embed_values(values, INDICES, 192)
    before, after = figure.data
    np.testing.assert_array_equal(before.z, values[0])
    np.testing.assert_array_equal(after.z, values[1])
    np.testing.assert_array_equal(after.x, INDICES)
    # Rows 0 to 2, a gap, rows 4 to 6, from the top down.
    assert (before.y0, after.y0) == (0, 4)
    low, high = figure.layout.yaxis.range
    assert low > 6 > 0 > high
    assert list(figure.layout.yaxis.tickvals) == [1, 5]
    assert list(figure.layout.yaxis.ticktext) == ["before", "after"]
    assert "first 3 of 192" in figure.layout.yaxis.title.text
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "x"}


def test_small_embeddings_keep_colours_of_their_own_beside_large_features() -> None:
    values = np.concatenate([np.full((1, 4, 6), 0.1), np.full((1, 4, 6), 10.0)])
    scale = plot_embed_values(values.astype(np.float32), INDICES, 8).layout.coloraxis
    positions = [position for position, _ in scale.colorscale]
    assert positions == sorted(positions)
    assert (scale.cmin, scale.cmax) == (-10, 10)
    np.testing.assert_allclose(positions, [0, 0.495, 0.5, 0.505, 1])


def test_norms_show_what_the_placeholders_became() -> None:
    norms = np.array([[1, 2, 0.5, 0.5, 0.5, 3], [1, 2, 7, 8, 9, 3]], np.float32)
    figure = plot_embed_norms(norms, INDICES, KINDS, LABELS)
    text, before, after = figure.data
    np.testing.assert_array_equal(text.x, [0, 1, 5])
    np.testing.assert_array_equal(text.y, [1, 2, 3])
    assert list(text.customdata) == ["&lt;|im_start|&gt;", "user", "?"]
    np.testing.assert_array_equal(before.x, [2, 3, 4])
    np.testing.assert_array_equal(before.y, [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(after.x, [2, 3, 4])
    np.testing.assert_array_equal(after.y, [7, 8, 9])
    assert len({trace.marker.symbol for trace in figure.data}) == 3
    alt = figure.layout.meta["alt"]
    assert "3 placeholder tokens have norm 0.5" in alt
    assert "7 to 9" in alt
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "x"}


def test_norms_of_text_have_one_series() -> None:
    figure = plot_embed_norms(np.ones((2, 2), np.float32), INDICES[:2], KINDS[:2], LABELS[:2])
    assert len(figure.data) == 1
    assert "placeholder" not in figure.layout.title.text


def test_groups_are_series_with_their_share_of_the_variance() -> None:
    names = ["text", "image placeholder", "image"]
    scores = [np.array([[0, 1], [2, 3]]), np.array([[4, 5]]), np.array([[6, 7], [8, 9]])]
    indices = [np.array([0, 5]), np.array([1]), np.array([1, 2])]
    figure = plot_embed_pca(
        names, scores, indices, [["a", "b"], [], []], (0.62, 0.21), directions=True
    )
    text, placeholder, image = figure.data
    np.testing.assert_array_equal(text.x, [0, 2])
    np.testing.assert_array_equal(image.y, [7, 9])
    assert text.customdata[1] == [5, "b"]
    assert image.customdata.tolist() == [[1], [2]]
    assert placeholder.customdata is None, "it is no single token, so the pointer passes it by"
    assert "&lt;|image_pad|&gt;" in placeholder.name
    assert "62%" in figure.layout.xaxis.title.text
    assert "21%" in figure.layout.yaxis.title.text
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "points"}
    assert "<" not in figure.layout.meta["alt"]


def test_groups_differ_in_more_than_colour() -> None:
    assert len({symbol for _, _, symbol, _ in GROUP_MARKS.values()}) == len(GROUP_MARKS)
