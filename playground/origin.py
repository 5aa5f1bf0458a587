"""What a loaded checkpoint's weights are: plain, quantised, or with an adapter merged into them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdaptedModule:
    """One module whose weight an adapter changes."""

    path: str  # as in ``named_modules`` of the model
    rank: int  # 0 for a kind of adapter without a rank
    norm: float  # Frobenius norm of the matrix that was added; nan if the kind adds none


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter of PEFT, merged into the weights of its base."""

    kind: str  # PEFT's name: LoRA, DoRA, LoHa …
    base: str  # the checkpoint below it, as its ``adapter_config.json`` names it
    scale: float  # factor on what a LoRA adds; 1.0 is how it was trained
    modules: tuple[AdaptedModule, ...]  # in the order of the model
    replaced: tuple[str, ...] = ()  # paths of modules that it stores whole (modules_to_save)

    @property
    def rank(self) -> int:
        """The largest rank; 0 for a kind of adapter without one."""
        return max((module.rank for module in self.modules), default=0)


@dataclass(frozen=True, slots=True)
class PartWeights:
    """One part of the model, such as the vision tower."""

    part: str  # a marked name
    num_matrices: int
    num_quantised: int  # of these, in the files; the others were left out

    @property
    def is_left_out(self) -> bool:
        """Whether none of the part is quantised."""
        return self.num_quantised == 0


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How the weights are stored in the files, and what they run as."""

    method: str  # FP8, bitsandbytes, compressed-tensors, GPTQ, AWQ
    form: str  # the method's own word for the variant: e4m3, nf4, pack-quantized …
    dequantised_to: str  # name of the dtype of plain matrices; empty if they stay quantised
    parts: tuple[PartWeights, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """How the weights came to be what they are. The default says: as they lie in the files."""

    quantisation: Quantisation | None = None
    adapter: Adapter | None = None
