"""The checkpoint's tokenizer and processor files.

A byte-level BPE trained here, with Qwen3-VL's special tokens, normaliser and pre-tokeniser. Merges
are learned only inside words: Chinese has no spaces, and merges across words would join colours
and shapes into one token.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import regex
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from training.corpus import SHAPE_TASKS, WRITING_TASKS, ask
from training.corpus_pairs import ask_clip, ask_pair
from training.motion import sample_clip
from training.scenes import sample_scene, sample_writing_scene
from training.talk import PLAIN_TEXTS, SYSTEM_PROMPTS, TALK
from training.words import KEY_WORDS, LANGUAGES

VOCAB_SIZE = 1024
# Qwen2's pre-tokeniser: contractions, words, single digits, punctuation, line breaks, spaces.
PRETOKENIZE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Qwen3-VL's 26 added tokens in its order; the flag says whether decoding may skip them.
ADDED_TOKENS = {
    "<|endoftext|>": True,
    "<|im_start|>": True,
    "<|im_end|>": True,
    "<|object_ref_start|>": True,
    "<|object_ref_end|>": True,
    "<|box_start|>": True,
    "<|box_end|>": True,
    "<|quad_start|>": True,
    "<|quad_end|>": True,
    "<|vision_start|>": True,
    "<|vision_end|>": True,
    "<|vision_pad|>": True,
    "<|image_pad|>": True,
    "<|video_pad|>": True,
    "<tool_call>": False,
    "</tool_call>": False,
    "<|fim_prefix|>": False,
    "<|fim_middle|>": False,
    "<|fim_suffix|>": False,
    "<|fim_pad|>": False,
    "<|repo_name|>": False,
    "<|file_sep|>": False,
    "<tool_response>": False,
    "</tool_response>": False,
    "<think>": False,
    "</think>": False,
}
# Words of the Chinese phrasings, where merges stop.
ZH_WORDS = (
    *KEY_WORDS["zh"],
    *("描述", "这张", "图片", "图形", "图中", "颜色", "形状", "什么", "哪里", "位置", "请", "一下"),
    *("有几个", "几个", "多少", "数一数", "一共", "看到", "移动", "方向", "视频", "发生", "这段"),
    *("数字", "字母", "从左到右", "从上到下", "依次", "说出", "哪", "比较", "两"),
    *("一个", "有", "分别", "更多", "一样", "左边", "右边", "上面", "下面", "里", "的", "是"),
    *(
        "你好",
        "世界",
        "你",
        "我",
        "可以",
        "谢谢",
        "再见",
        "早上好",
        "晚上好",
        "不客气",
        "助手",
        "有用",
    ),
    *("回答", "简短", "一张", "简单", "模型", "中文", "英语", "会", "说", "吗", "一个", "在", "和"),
)


def corpus_words(seed: int, num_scenes: int) -> Counter[str]:
    """Counts of the words in the corpus, with Chinese split into words."""
    rng = np.random.default_rng([seed, 3])
    texts: list[str] = [*PLAIN_TEXTS, *SYSTEM_PROMPTS] * 20
    for _, prompts, answers in TALK:
        texts += [*prompts, *answers] * 20
    for index in range(num_scenes):
        language = LANGUAGES[index % 2]
        scene = sample_scene(rng, int(rng.integers(1, 5)))
        written = sample_writing_scene(rng)
        pair = (sample_scene(rng, 1), sample_scene(rng, 1))
        turns = [ask(scene, task, rng, language) for task in SHAPE_TASKS]
        turns += [ask(written, task, rng, language) for task in WRITING_TASKS]
        turns += [ask_pair(pair, rng, language), ask_clip(sample_clip(rng), rng, language)]
        for turn in turns:
            if turn is not None:
                texts += [turn.question, *turn.answers]
    counts: Counter[str] = Counter(
        ["user", "assistant", "system", " seconds", "Picture", "\n"] * 50
    )
    for text in texts:
        counts.update(split_words(text))
    return counts


_CHINESE = regex.compile(r"(\p{Han}+)")
_LEXICON = regex.compile("|".join(sorted(set(ZH_WORDS), key=len, reverse=True)) + r"|\p{Han}")


def split_words(text: str) -> list[str]:
    """Pre-tokens of a text, with Chinese runs split further by the lexicon."""
    words = []
    for piece in regex.findall(PRETOKENIZE, text):
        for part in _CHINESE.split(piece):
            words += _LEXICON.findall(part) if _CHINESE.fullmatch(part) else [part]
    return [word for word in words if word]


def train_tokenizer(seed: int = 0, num_scenes: int = 1500) -> Tokenizer:
    """Learn the merges, then add the special tokens, as Qwen's tokenizers do."""
    tokenizer = Tokenizer(BPE(unk_token=None, fuse_unk=False, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    counts = corpus_words(seed, num_scenes)
    trainer = BpeTrainer(
        vocab_size=VOCAB_SIZE - len(ADDED_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Raise rare words so that they are learned, and cap frequent ones so that they do not dominate.
    repeats = (word for word, count in sorted(counts.items()) for _ in range(min(count, 400)))
    tokenizer.train_from_iterator(repeats, trainer)
    split = pre_tokenizers.Split(Regex(PRETOKENIZE), behavior="isolated", invert=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.add_tokens(
        [
            AddedToken(text, special=special, normalized=False)
            for text, special in ADDED_TOKENS.items()
        ]
    )
    return tokenizer


def write_processor_files(tokenizer: Tokenizer, folder: Path) -> None:
    """tokenizer.json, tokenizer_config.json, both processors' configurations, chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    template = Path(__file__).with_name("chat_template.jinja")
    shutil.copyfile(template, folder / "chat_template.jinja")
    image, video = _processor_configs()
    owner = {"processor_class": "Qwen3VLProcessor"}
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(tokenizer))
    _write_json(
        folder / "processor_config.json",
        {**owner, "image_processor": image, "video_processor": video},
    )
    _write_json(folder / "preprocessor_config.json", {**image, **owner})
    _write_json(folder / "video_preprocessor_config.json", {**video, **owner})


def _tokenizer_config(tokenizer: Tokenizer) -> dict:
    """The content of tokenizer_config.json."""
    added = {
        str(tokenizer.token_to_id(text)): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": special,
        }
        for text, special in ADDED_TOKENS.items()
    }
    return {
        "tokenizer_class": "TokenizersBackend",
        "added_tokens_decoder": added,
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
        "errors": "replace",
    }


def _processor_configs() -> tuple[dict, dict]:
    """The configurations of the image and video processors."""
    shared = {
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "resample": 3,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
    }
    image = {
        **shared,
        "image_processor_type": "Qwen2VLImageProcessor",
        "size": {"shortest_edge": 128 * 128, "longest_edge": 224 * 224},
    }
    video = {
        **shared,
        "video_processor_type": "Qwen3VLVideoProcessor",
        # Over all frames: four of 128 x 128 at least, eight of 160 x 160 at most.
        "size": {"shortest_edge": 4 * 128 * 128, "longest_edge": 8 * 160 * 160},
        "fps": 2,
        "min_frames": 4,
        "max_frames": 8,
        "do_sample_frames": True,
        "cap_pixels_per_frame": False,
    }
    return image, video


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
