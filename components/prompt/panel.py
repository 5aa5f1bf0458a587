"""The input panel: one place for the input of all tabs."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.components.base import Component

from components.prompt.examples import Example, ExampleCards
from components.prompt.optional_number import OptionalNumber
from components.prompt.previews import build_video_note, wire_previews
from components.prompt.uploads import refuse_addresses
from playground.language import say

# "image" is what a phone's file picker goes by, and browsers know no type for .heic. "file" lets
# the rest through as well: the server refuses it by its content, in the page's language.
IMAGE_FILES = ["image", ".heic", ".heif", ".avif", "file"]


NUM_FRAME_FIELDS = 4  # the fields of FrameFields


@dataclass(frozen=True, slots=True, eq=False)
class FrameFields:
    """Which frames of the video are sampled; empty fields leave it to the checkpoint."""

    fps: OptionalNumber
    num_frames: OptionalNumber
    start: OptionalNumber
    end: OptionalNumber


@dataclass(frozen=True, slots=True, eq=False)
class InputPanel:
    """The input components, in the order in which handlers take their values."""

    images: gr.Gallery
    video: gr.Video
    text: gr.Textbox
    system: gr.Textbox
    max_pixels: OptionalNumber
    earlier: gr.Textbox
    thinking: gr.Radio  # hidden, unless the chat template takes ``enable_thinking``
    frames: FrameFields
    run: gr.Button
    stop: gr.Button
    copy: gr.Button  # makes a link to the current page
    query: gr.Textbox  # hidden: the link's query, which is all that the server knows of the link
    link: gr.Textbox  # hidden until there is one
    link_note: gr.HTML
    progress: gr.HTML  # empty; shows the progress of a run
    cards: ExampleCards

    @property
    def values(self) -> list[Component]:
        """Inputs of every run event, in the order of ``PROMPT_NAMES``."""
        return [
            self.images,
            self.video,
            self.text,
            self.system,
            self.max_pixels,
            self.earlier,
            self.thinking,
            self.frames.fps,
            self.frames.num_frames,
            self.frames.start,
            self.frames.end,
        ]


def build_input_panel(examples: tuple[Example, ...]) -> InputPanel:
    """Build the panel, filled with the first example."""
    first = examples[0]
    images = gr.Gallery(
        value=list(first.images),
        label=say("Images"),
        type="filepath",
        file_types=IMAGE_FILES,
        sources=["upload", "clipboard"],
        columns=2,
        height=200,
        object_fit="contain",
        interactive=True,
        elem_id="input-images",
    )
    text = gr.Textbox(
        value=first.text,
        label=say("Text"),
        placeholder=say("Ask something about the image. 中文也可以。"),
        lines=2,
        max_lines=2,  # CSS grows it; Gradio would lay out the whole page to find its height
        elem_id="input-text",
    )
    with gr.Row():
        run = gr.Button(say("Run"), variant="primary", elem_id="run", min_width=120)
        stop = gr.Button(say("Stop"), elem_id="stop", min_width=80, scale=0)
    copy, query, link, link_note = _build_link()
    progress = gr.HTML("", elem_id="progress")
    thinking = _build_thinking()
    system, earlier, video, note, frames, max_pixels = _build_more(first)
    cards = ExampleCards(examples, elem_id="examples")
    refuse_addresses(images)
    refuse_addresses(video)
    wire_previews(images, video, note)
    return InputPanel(
        images=images,
        video=video,
        text=text,
        system=system,
        max_pixels=max_pixels,
        earlier=earlier,
        thinking=thinking,
        frames=frames,
        run=run,
        stop=stop,
        copy=copy,
        query=query,
        link=link,
        link_note=link_note,
        progress=progress,
        cards=cards,
    )


def _build_thinking() -> gr.Radio:
    """Build the choice of the template's ``enable_thinking``, for checkpoints that know it."""
    options = [(say("as the template has it"), ""), (say("on"), "on"), (say("off"), "off")]
    return gr.Radio(
        options, value="", label=say("Thinking"), visible=False, elem_id="input-thinking"
    )


def _build_link() -> tuple[gr.Button, gr.Textbox, gr.Textbox, gr.HTML]:
    """Build the button that makes a link, and the box for the link."""
    copy = gr.Button(say("Copy link"), size="sm", elem_id="copy-link")
    link = gr.Textbox(
        label=say("Link to the current page"),
        visible=False,
        interactive=False,
        max_lines=2,
        buttons=["copy"],
        elem_id="link-box",
    )
    query = gr.Textbox(visible="hidden")
    link_note = gr.HTML("", elem_id="link-note")
    return copy, query, link, link_note


def _build_more(
    first: Example,
) -> tuple[gr.Textbox, gr.Textbox, gr.Video, gr.HTML, FrameFields, OptionalNumber]:
    """Build the less common inputs: system prompt, earlier turns, video, resolution."""
    label = say("System prompt, earlier turns, video, resolution")
    with gr.Accordion(label, open=False, elem_id="input-more"):
        system = gr.Textbox(value=first.system, label=say("System prompt"), lines=1, max_lines=6)
        earlier = gr.Textbox(
            value=first.earlier,
            label=say("Earlier turns"),
            info=say(
                "The conversation before the text above. Images then belong to its first turn."
            ),
            placeholder=say("User: Describe this image.\nAssistant: A red circle."),
            lines=2,
            max_lines=10,
            elem_id="input-earlier",
        )
        video = gr.Video(
            value=None,
            label=say("Video"),
            sources=["upload"],
            height=180,
            elem_id="input-video",
        )
        note = build_video_note()
        frames = _build_frame_fields()
        max_pixels = OptionalNumber(
            label=say("Max pixels"),
            info=say(
                "Per image; for a video, over all frames. Leave empty for the processor's own "
                "limit."
            ),
            max_lines=1,
        )
    return system, earlier, video, note, frames, max_pixels


def _build_frame_fields() -> FrameFields:
    """Build the four numbers below the video."""

    def number(label: str, placeholder: str, name: str) -> OptionalNumber:
        return OptionalNumber(
            label=label,
            placeholder=placeholder,
            max_lines=1,
            min_width=120,
            elem_id=f"input-video-{name}",
        )

    own = say("default")
    with gr.Row(elem_id="input-frames"):
        return FrameFields(
            fps=number(say("Frames per second"), own, "fps"),
            num_frames=number(say("or number of frames"), own, "frames"),
            start=number(say("From (s)"), say("start"), "start"),
            end=number(say("To (s)"), say("end"), "end"),
        )
