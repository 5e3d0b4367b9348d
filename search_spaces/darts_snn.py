"""The DARTS cell with every ReLU replaced by a LIF neuron, and the published settings of MA-DARTS."""

from raynas_snn.config.search_space import SearchSpace


def darts_snn() -> SearchSpace:
    """Eight candidates, four nodes, no attention."""
    return SearchSpace(
        name="darts_snn",
        description="the DARTS cell with LIF neurons, no attention",
        operations=(
            "none",
            "max_pool_3x3",
            "avg_pool_3x3",
            "skip_connect",
            "sep_conv_3x3",
            "sep_conv_5x5",
            "dil_conv_3x3",
            "dil_conv_5x5",
        ),
        num_nodes=4,
        defaults={
            "model": {
                "attention": "none",
                "num_steps": 2,
                "channels": 64,
                "layers": 6,
                "decay": 0.2,
                "v_th": 0.5,
            },
            "search": {
                "epochs": 40,
                "batch_size": 64,
                "channels": 16,
                "layers": 5,
                "lr": 5e-3,
                "alpha_lr": 3e-4,
            },
            "retrain": {"epochs": 600, "batch_size": 64, "lr": 2.5e-3},
        },
    )
