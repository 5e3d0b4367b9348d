"""What a sweep file may hold: every field with its type, bounds, default and meaning.

All models are frozen and strict: no key that is not listed here, no text where a number belongs, no NaN.
Whole numbers are fine where a fraction is asked for. Components (``attention``, ``sampler``, ...) are a name with
options here, whatever they are; the loader looks both up in the registry.
"""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from raynas_snn.config.component import (
    Component,
    NamedAttention,
    NamedNeuron,
    NamedSampler,
    NamedScheduler,
    NamedStrategy,
    NamedSurrogate,
    absolute,
)
from raynas_snn.core.options import FileName
from raynas_snn.core.scalars import Scalar

AttentionScope = Literal["every_cell", "last_cell"]
StemStride = Literal[1, 2, 4, 8]
Precision = Literal["float32", "tf32", "bfloat16"]
Objective = Literal["accuracy", "search_accuracy", "spikes", "sops", "energy_uj", "params"]
Direction = Literal["maximize", "minimize"]
Channels = Annotated[int, Field(ge=1, le=1024)]
Layers = Annotated[int, Field(ge=2, le=20)]
Reductions = Annotated[list[Annotated[int, Field(ge=0, le=19)]], Field(max_length=4)]
DropPath = Annotated[float, Field(ge=0, le=0.9)]


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Settings(BaseModel):
    """Rules shared by all sections."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def value_at(self, path: str) -> Any:
        """The value of a field by its dotted path, ``"model.decay"``; None if there is no such field.

        That of a component is its name, ``"model.attention"``; options have paths of their own,
        ``"model.attention.reduction"``.
        """
        value: Any = self
        for name in path.split("."):
            value = dict(value).get(name) if isinstance(value, BaseModel) else None
        return value.name if isinstance(value, Component) else value


class ModelConfig(_Settings):
    """The spiking network: neuron, attention, width and depth of the derived network."""

    attention: NamedAttention = Field(
        NamedAttention(name="none"), description="Attention that weighs a cell's output (registry: attentions)."
    )
    num_steps: int = Field(2, ge=1, le=64, description="T, time steps per image.")
    channels: Channels = Field(16, description="C, width of the derived network before the first reduction.")
    layers: Layers = Field(6, description="Cells of the derived network.")
    reductions: Reductions | None = Field(
        None, description="Cells that halve the resolution, from 0; null takes layers / 3 and 2 layers / 3."
    )
    num_nodes: int | None = Field(None, ge=2, le=8, description="Nodes per cell; null takes the search space's.")
    stem_stride: StemStride | None = Field(
        None, description="Down-sampling before the cells; null takes the least that brings images below 64 pixels."
    )
    neuron: NamedNeuron = Field(NamedNeuron(name="lif"), description="Neuron model (registry: neurons).")
    decay: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of the membrane potential kept per step; `tau`, the paper's name, is an alias.",
    )
    v_th: float = Field(0.5, gt=0, le=100, description="Threshold of the membrane potential.")
    surrogate: NamedSurrogate = Field(
        NamedSurrogate(name="rectangular"), description="Stands in for the spike's derivative (registry: surrogates)."
    )
    detach_reset: bool = Field(False, description="Keep gradients from flowing through the reset gate.")


class SearchConfig(_Settings):
    """How the cells are found."""

    strategy: NamedStrategy = Field(
        NamedStrategy(name="darts"), description="How the cells are found (registry: strategies)."
    )
    epochs: int = Field(40, ge=1, le=100_000, description="Epochs of the search.")
    batch_size: int = Field(64, ge=2, le=65_536, description="Images per step, over all workers.")
    channels: Channels | None = Field(None, description="Width of the supernet; null takes model.channels.")
    layers: Layers | None = Field(None, description="Cells of the supernet; null takes model.layers.")
    reductions: Reductions | None = Field(
        None, description="Halving cells of the supernet; null takes model.reductions if its depth is the same."
    )
    attention_scope: AttentionScope = Field("every_cell", description="Cells that carry attention in the supernet.")
    lr: float = Field(0.005, gt=0, le=10, description="First learning rate of the weights (SGD, cosine).")
    lr_min: float = Field(0.0, ge=0, le=10, description="Last learning rate of the weights.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of the weights.")
    weight_decay: float = Field(3e-4, ge=0, le=1, description="Weight decay of the weights.")
    grad_clip: float = Field(5.0, ge=0, le=1e6, description="Largest gradient norm of the weights; 0 turns it off.")
    alpha_lr: float = Field(3e-4, ge=0, le=10, description="Learning rate of alpha (Adam).")
    alpha_weight_decay: float = Field(1e-3, ge=0, le=1, description="Weight decay of alpha.")
    unrolled: bool = Field(False, description="Second-order steps of alpha: look one weight step ahead (DARTS).")
    warmup_epochs: int = Field(0, ge=0, description="First epochs, in which alpha rests and the weights learn.")
    drop_path: DropPath = Field(0.0, description="Share of paths dropped per image in the last epoch, rising from 0.")
    auxiliary: bool = Field(False, description="Search with an auxiliary classifier behind the last reduction.")
    auxiliary_weight: float = Field(0.4, ge=0, le=10, description="Weight of the auxiliary classifier's loss.")
    recompute: bool = Field(
        False, description="Compute a cell's activations again in the backward pass: less memory, more time."
    )
    stop_skip_share: float | None = Field(
        None, gt=0, le=1, description="End the search when so large a share of the normal cell's edges are skips."
    )


class RetrainConfig(_Settings):
    """Training of the derived network from scratch."""

    epochs: int = Field(600, ge=1, le=100_000, description="Epochs of the retraining.")
    batch_size: int = Field(64, ge=2, le=65_536, description="Images per step, over all workers.")
    attention_scope: AttentionScope = Field("last_cell", description="Cells that carry attention when derived.")
    lr: float = Field(0.0025, gt=0, le=10, description="First learning rate (SGD, cosine).")
    lr_min: float = Field(0.0, ge=0, le=10, description="Last learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum.")
    weight_decay: float = Field(3e-4, ge=0, le=1, description="Weight decay.")
    grad_clip: float = Field(5.0, ge=0, le=1e6, description="Largest gradient norm; 0 turns it off.")
    drop_path: DropPath = Field(0.0, description="Share of paths dropped per image in the last epoch, rising from 0.")
    auxiliary: bool = Field(True, description="Train with an auxiliary classifier behind the last reduction.")
    auxiliary_weight: float = Field(0.4, ge=0, le=10, description="Weight of the auxiliary classifier's loss.")
    recompute: bool = Field(
        False, description="Compute a cell's activations again in the backward pass: less memory, more time."
    )
    compile: bool = Field(
        False, description="Train with torch.compile; minutes at the start of each trial, stated as compile_seconds."
    )


class DataConfig(Component):
    """The images. What is null is chosen by the data set, whose options stand beside these fields."""

    kind: ClassVar[str] = "datasets"
    name: str = Field("digits", description="Data set (registry: datasets).")
    root: FileName = Field(
        "data", description="Folder that holds the data sets; relative to where the sweep is started."
    )
    download: bool = Field(False, description="Fetch the data before the sweep starts if it is not in the folder.")
    crop_padding: int | None = Field(None, ge=0, le=1024, description="Pixels around an image before a random crop.")
    flip: bool | None = Field(None, description="Mirror training images at random.")
    cutout: int | None = Field(None, ge=0, le=1024, description="Side of the square erased from training images.")
    num_train: int | None = Field(None, ge=2, description="Use only so many training images.")
    num_test: int | None = Field(None, ge=1, description="Use only so many test images.")

    @property
    def root_path(self) -> Path:
        """``root`` as an absolute path: workers run in folders of their own."""
        return absolute(self.root)


class SweepSettings(_Settings):
    """Which proposals are made, how often each is repeated, and what counts as better."""

    sampler: NamedSampler = Field(NamedSampler(name="grid"), description="Makes the proposals (registry: samplers).")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the sampler and of each proposal's first repeat.")
    num_seeds: int = Field(
        1,
        ge=1,
        le=1000,
        description="Repeats of each proposal, with seeds seed, seed + 1, ...; made again, from seed + 1000 on.",
    )
    num_trials: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Proposals; null takes the whole grid, other samplers need a number.",
    )
    objectives: dict[Objective, Direction] = Field(
        {"accuracy": "maximize"},
        min_length=1,
        description="Metrics that the sampler learns from, each with its direction.",
    )
    max_params: int | None = Field(None, ge=1, description="Networks with more parameters are not trained.")
    max_spikes: float | None = Field(None, gt=0, description="Networks with more spikes per image are not wanted.")
    max_energy_uj: float | None = Field(None, gt=0, description="Networks that take more energy are not wanted.")
    points: list[dict[str, Scalar]] = Field(
        [], max_length=10_000, description="Proposals to make first: outer parameters by path; the rest is drawn."
    )
    warm_start: FileName | None = Field(None, description="Run directory of another sweep to learn from.")
    scheduler: NamedScheduler = Field(
        NamedScheduler(name="none"), description="Who stops hopeless trials early (registry: schedulers)."
    )
    max_failures: int = Field(2, ge=0, le=1000, description="Fresh attempts granted to a trial that crashed.")

    @property
    def limits(self) -> dict[str, float]:
        """The greatest allowed value of each metric that is limited, by the metric's name."""
        bounds = {"params": self.max_params, "spikes": self.max_spikes, "energy_uj": self.max_energy_uj}
        return {metric: bound for metric, bound in bounds.items() if bound is not None}


class ResourcesConfig(_Settings):
    """What one trial takes from the cluster, and how it uses it."""

    num_workers: int = Field(1, ge=1, le=4096, description="Processes that train one trial together (DDP).")
    gpus_per_worker: float = Field(0.0, ge=0, le=1024, description="GPUs per worker; 0.5 lets two trials share one.")
    cpus_per_worker: int = Field(1, ge=1, le=4096, description="CPUs per worker.")
    max_concurrent: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        "auto", description="Trials at the same time; auto takes as many as fit."
    )
    heartbeat_seconds: float = Field(
        120.0,
        ge=1,
        le=86_400,
        description="A process of a trial that has not answered for so long is killed, and the trial goes on.",
    )
    precision: Precision = Field(
        "float32",
        description="Of convolutions and products of matrices; without a GPU tf32 changes nothing, bfloat16 is slow.",
    )
    cuda_graphs: bool = Field(
        True, description="Launch each training step as one CUDA graph where that is possible; nothing without a GPU."
    )

    @field_validator("gpus_per_worker")
    @classmethod
    def _whole_gpus(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("must be a fraction below 1 or a whole number of GPUs")
        return value


class Limits(_Settings):
    """What a network may cost; None for no bound."""

    max_params: int | None = None
    max_spikes: float | None = None
    max_energy_uj: float | None = None


class TrialConfig(_Settings):
    """One trial: one proposal with one seed. It is all that a worker process is given.

    Attributes:
        uid: Name of the trial in its run directory.
        proposal: Number of the proposal, from 0.
        seed: Seed of everything random in the trial.
        outer: The values of the outer parameters that the proposal consists of, by dotted path.
        trial: Kind of trial (registry: trials).
        space: Search space (registry: spaces).
        sampling: What the sampler has noted of the proposal (``trial``) and of the study (``study``) when it was made,
            such as nsga2's generation and its parents: Optuna's system attributes.
    """

    uid: str
    proposal: int
    seed: int
    outer: dict[str, Scalar]
    trial: str
    space: str
    data: DataConfig
    model: ModelConfig
    search: SearchConfig
    retrain: RetrainConfig
    resources: ResourcesConfig
    limits: Limits = Limits()
    sampling: dict[str, dict[str, Any]] = {}


class SweepConfig(_Settings):
    """A whole sweep, with plain values in place of outer parameters."""

    name: str = Field(description="Name of the sweep and of its run directory.")
    space: str = Field("attention_ablation", description="Search space (registry: spaces).")
    trial: str = Field("search_then_retrain", description="What a trial does (registry: trials).")
    data: DataConfig = Field(default_factory=DataConfig, description="The images.")
    model: ModelConfig = Field(default_factory=ModelConfig, description="The network.")
    search: SearchConfig = Field(default_factory=SearchConfig, description="The search.")
    retrain: RetrainConfig = Field(default_factory=RetrainConfig, description="The retraining.")
    sweep: SweepSettings = Field(default_factory=SweepSettings, description="Proposals and repeats.")
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig, description="What one trial takes.")

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value) or ".." in value:
            raise ValueError(
                "must be up to 100 letters, digits, '.', '_' or '-', with a letter or digit first and no '..'"
            )
        return value


def sections_of(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The fields of a model that are models themselves."""
    return {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


SECTIONS = sections_of(SweepConfig)


class ComponentField(NamedTuple):
    """Where a sweep file names a component.

    Attributes:
        path: Of the component; its options follow after it.
        name_path: Of the field that holds its name.
        model: What it becomes.
    """

    path: tuple[str, ...]
    name_path: tuple[str, ...]
    model: type[Component]


COMPONENTS = [
    ComponentField(("data",), ("data", "name"), DataConfig),
    *(
        ComponentField((section, field), (section, field), model)
        for section, settings in SECTIONS.items()
        for field, model in sections_of(settings).items()
        if issubclass(model, Component)
    ),
]
COMPONENT_FIELDS: dict[tuple[str, ...], type[Component]] = {
    field.path: field.model for field in COMPONENTS if len(field.path) == 2
}
"""The components that are one field of a section, by path."""
