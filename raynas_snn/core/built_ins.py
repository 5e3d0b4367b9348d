"""The built-in components: under which name a sweep file finds what, and where what may stand beside it is declared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BuiltIn:
    """A built-in thing.

    Attributes:
        target: Where it is, ``"package.module:attribute"``.
        description: One line for ``--list``.
        options: Where its options are declared, in a module that imports neither torch nor ray; none if empty.
    """

    target: str
    description: str
    options: str = ""


_ATTENTION = "raynas_snn.snn.attention:"
_ATTENTION_OPTIONS = "raynas_snn.snn.attention_options:"
_OPERATION = "raynas_snn.nas.operations:"
_SURROGATE = "raynas_snn.snn.surrogate:"
_SURROGATE_OPTIONS = "raynas_snn.snn.surrogate_options:"
_SAMPLER = "raynas_snn.study.samplers:"
_STRATEGY = "raynas_snn.training.strategies.built_in:"
_STRATEGY_OPTIONS = "raynas_snn.training.strategies.strategy_options:"
_IMAGE_FILE_OPTIONS = "raynas_snn.data.image_file_options:ImageFileOptions"
_TORCHVISION = "raynas_snn.data.torchvision_sets:"

BUILT_INS: dict[str, dict[str, BuiltIn]] = {
    "attentions": {
        "none": BuiltIn(_ATTENTION + "NoAttention", "no attention: the DARTS baseline"),
        "temporal": BuiltIn(
            _ATTENTION + "TemporalAttention", "a gate per time step", _ATTENTION_OPTIONS + "TemporalOptions"
        ),
        "channel": BuiltIn(
            _ATTENTION + "ChannelAttention",
            "a gate per channel at each step: the first half of ma",
            _ATTENTION_OPTIONS + "ChannelOptions",
        ),
        "spatial": BuiltIn(
            _ATTENTION + "SpatialAttention",
            "a gate per pixel at each step: the second half of ma",
            _ATTENTION_OPTIONS + "SpatialOptions",
        ),
        "ct": BuiltIn(
            _ATTENTION + "ChannelTemporalAttention",
            "channel-temporal gate in the manner of ECA (CT-DARTS)",
            _ATTENTION_OPTIONS + "CTOptions",
        ),
        "ma": BuiltIn(
            _ATTENTION + "MultiDimensionalAttention",
            "channel-temporal, then spatial gate in the manner of CBAM (MA-DARTS)",
            _ATTENTION_OPTIONS + "MAOptions",
        ),
    },
    "operations": {
        "none": BuiltIn(_OPERATION + "Zero", "no connection"),
        "max_pool_3x3": BuiltIn(_OPERATION + "MaxPool3x3", "3x3 max pooling"),
        "avg_pool_3x3": BuiltIn(_OPERATION + "AvgPool3x3", "3x3 average pooling"),
        "skip_connect": BuiltIn(_OPERATION + "SkipConnect", "identity; a factorised reduction where the stride is 2"),
        "sep_conv_3x3": BuiltIn(_OPERATION + "SepConv3x3", "3x3 separable convolution, spiking, applied twice"),
        "sep_conv_5x5": BuiltIn(_OPERATION + "SepConv5x5", "5x5 separable convolution, spiking, applied twice"),
        "dil_conv_3x3": BuiltIn(_OPERATION + "DilConv3x3", "3x3 separable convolution with dilation 2, spiking"),
        "dil_conv_5x5": BuiltIn(_OPERATION + "DilConv5x5", "5x5 separable convolution with dilation 2, spiking"),
    },
    "neurons": {
        "lif": BuiltIn(
            "raynas_snn.snn.neuron:LIF",
            "u[t] = decay * u[t-1] * (1 - o[t-1]) + x[t], o[t] = u[t] > v_th; "
            "SpikingJelly's tau is 1 / (1 - decay), with decay_input=False and v_reset=0",
        ),
    },
    "surrogates": {
        "rectangular": BuiltIn(
            _SURROGATE + "Rectangular",
            "a window around the threshold (STBP)",
            _SURROGATE_OPTIONS + "RectangularOptions",
        ),
        "dspike": BuiltIn(
            _SURROGATE + "Dspike",
            "a tanh of adjustable temperature (Dspike, SpikeDHS)",
            _SURROGATE_OPTIONS + "DspikeOptions",
        ),
        "atan": BuiltIn(_SURROGATE + "ATan", "the arc tangent", _SURROGATE_OPTIONS + "ATanOptions"),
        "sigmoid": BuiltIn(_SURROGATE + "Sigmoid", "the logistic function", _SURROGATE_OPTIONS + "SigmoidOptions"),
    },
    "datasets": {
        "digits": BuiltIn("raynas_snn.data.digits:DIGITS", "8x8 handwritten digits; comes with scikit-learn"),
        "cifar10": BuiltIn(_TORCHVISION + "CIFAR10", "32x32 colour images of 10 classes; data.root names the folder"),
        "cifar100": BuiltIn(
            _TORCHVISION + "CIFAR100", "32x32 colour images of 100 classes; data.root names the folder"
        ),
        "tiny_imagenet": BuiltIn(
            "raynas_snn.data.tiny_imagenet:TINY_IMAGENET",
            "64x64 colour images of 200 classes, in data.root/tiny-imagenet-200",
            _IMAGE_FILE_OPTIONS,
        ),
        "folder": BuiltIn(
            "raynas_snn.data.image_folder:FOLDER",
            "your own images: data.root/train/CLASS/* and data.root/test/CLASS/*, or data.root/CLASS/*",
            _IMAGE_FILE_OPTIONS,
        ),
    },
    "spaces": {
        "darts_snn": BuiltIn("search_spaces.darts_snn:darts_snn", "the DARTS cell with LIF neurons, no attention"),
        "ct_darts": BuiltIn("search_spaces.ct_darts:ct_darts", "darts_snn with channel-temporal attention"),
        "ma_darts": BuiltIn("search_spaces.ma_darts:ma_darts", "darts_snn with multi-dimensional attention"),
        "attention_ablation": BuiltIn(
            "search_spaces.attention_ablation:attention_ablation",
            "darts_snn with none, ct and ma side by side",
        ),
    },
    "strategies": {
        "darts": BuiltIn(_STRATEGY + "DARTS", "bilevel gradient descent on a supernet of all candidates (MA-DARTS)"),
        "random": BuiltIn(_STRATEGY + "RANDOM", "a random genotype of the space: the baseline, nothing is searched"),
        "sahd": BuiltIn(
            _STRATEGY + "SAHD",
            "the best of many random genotypes by a training-free score (SNASNet)",
            _STRATEGY_OPTIONS + "SahdOptions",
        ),
        "evolution": BuiltIn(
            _STRATEGY + "EVOLUTION",
            "single-path supernet, then spike-aware evolution of genotypes (AutoSNN)",
            _STRATEGY_OPTIONS + "EvolutionOptions",
        ),
        "fixed": BuiltIn(
            _STRATEGY + "FIXED",
            "the cells in a file, such as a trial's genotype.json, retrained",
            _STRATEGY_OPTIONS + "FixedOptions",
        ),
    },
    "trials": {
        "search_then_retrain": BuiltIn(
            "trials.search_then_retrain:RECIPE", "search, derive, retrain from scratch, evaluate on test data"
        ),
        "fake": BuiltIn("trials.fake:RECIPE", "instant made-up curves, for trying out a sweep"),
    },
    "samplers": {
        "grid": BuiltIn(_SAMPLER + "grid_sampler", "every combination of the choices, in order"),
        "random": BuiltIn(_SAMPLER + "random_sampler", "independent random proposals"),
        "tpe": BuiltIn(
            _SAMPLER + "tpe_sampler",
            "adaptive, tree-structured Parzen estimator; for hunting, not for tables",
        ),
        "nsga2": BuiltIn(
            _SAMPLER + "nsga2_sampler",
            "adaptive, genetic (NSGA-II); for the Pareto front of several objectives, not for tables",
            "raynas_snn.study.sampler_options:NSGA2Options",
        ),
    },
    "schedulers": {
        "none": BuiltIn("raynas_snn.cluster.driver.schedulers:none", "every trial runs to its end"),
        "asha": BuiltIn(
            "raynas_snn.cluster.driver.asha:asha",
            "asynchronous successive halving: stops trials that do worse than others at the same epoch",
            "raynas_snn.study.scheduler_options:AshaOptions",
        ),
    },
}
