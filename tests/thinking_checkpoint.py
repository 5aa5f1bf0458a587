"""A tiny random checkpoint that thinks, with a chat template that does what Qwen3's do."""

from __future__ import annotations

from pathlib import Path

from tests.tiny_random import make_tiny_random_checkpoint

# The published behaviour, in words of our own: an assistant's turn loses all up to its last
# </think>, but for turns after the last question, which keep theirs (or get an empty one if they
# are last); the generation prompt opens the thinking.
_TEMPLATE = """\
{%- macro write(content) -%}
    {%- if content is string -%}{{ content }}{%- else -%}
        {%- for part in content -%}
            {%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
            {%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
            {%- else -%}{{ part.text }}{%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- set last = namespace(question=-1) -%}
{%- for message in messages -%}
    {%- if message.role == 'user' -%}{%- set last.question = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {%- set text = write(message.content) -%}
    {%- set thinking = '' -%}
    {%- if message.role == 'assistant' and '</think>' in text -%}
        {%- set thinking = text.split('</think>')[0].rstrip('\\n').split('<think>')[-1] -%}
        {%- set text = text.split('</think>')[-1].lstrip('\\n') -%}
    {%- endif -%}
    {{- '<|im_start|>' + message.role + '\\n' -}}
    {%- if loop.index0 > last.question and (loop.last or thinking) -%}
        {{- '<think>\\n' + thinking.strip('\\n') + '\\n</think>\\n\\n' -}}
    {%- endif -%}
    {{- text + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}OPENING{%- endif -%}
"""
# Qwen3-VL-Thinking always thinks; Qwen3's hybrid checkpoints take an argument.
ALWAYS = _TEMPLATE.replace("OPENING", "{{- '<think>\\n' -}}")
HYBRID = _TEMPLATE.replace(
    "OPENING",
    "{%- if enable_thinking is defined and enable_thinking is false -%}"
    "{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}",
)


def make_thinking_checkpoint(folder: Path, template: str = ALWAYS) -> Path:
    """Write the checkpoint; the shipped tokenizer already has both tags.

    Args:
        folder: made if need be.
        template: ``ALWAYS`` or ``HYBRID``.
    """
    make_tiny_random_checkpoint(folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder
