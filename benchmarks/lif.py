"""The LIF neuron alone, forward and backward: ours against SpikingJelly's torch backend, and against moving its bytes.

Run from a checkout: ``python benchmarks/lif.py``. The cases take turns; a ratio is the median over rounds of the ratio
within a round. ``copy`` reads as many bytes as the neuron must read and writes as many as it must write, twice: spikes
from currents, and the gradient of the currents from that of the spikes and the currents.
"""

import json
import statistics
from collections.abc import Callable

import measure
import torch
from peers import WAYS, FoldedNeuron, SpikingJellyNeuron

from raynas_snn.nas.macro import Macro


def main() -> None:
    """Prints a table, or JSON."""
    parser = measure.common_arguments(__doc__, rounds=30)
    measure.size_arguments(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    macro = Macro(10, num_steps=options.num_steps)
    shape = (options.num_steps * options.batch_size, options.channels, options.image_size, options.image_size)
    currents = torch.randn(shape, device=options.device).contiguous(memory_format=torch.channels_last)
    currents.requires_grad_()
    grad, spare = torch.randn_like(currents), torch.empty_like(currents)

    def pass_through(neuron: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            currents.grad = None
            neuron(currents).backward(grad)

        return run

    def copy() -> None:
        spare.copy_(currents.detach())
        torch.add(currents.detach(), grad, out=spare)

    cases = {
        "ours": pass_through(macro.make_neuron()),
        "plain autograd": pass_through(FoldedNeuron(macro)),
        "copy": copy,
    }
    if "spikingjelly" in WAYS:
        cases["spikingjelly"] = pass_through(SpikingJellyNeuron(macro))
    times = measure.interleaved(cases, options.rounds, measure.clock_for(options.device, options.clock))
    ratios = measure.ratios(times, "ours")
    result = {
        **measure.setting(options.device),
        **{name: getattr(options, name) for name in ("num_steps", "channels", "batch_size", "image_size", "rounds")},
        "ratio_vs_plain_autograd": ratios["plain autograd"],
        "ratio_vs_spikingjelly": ratios.get("spikingjelly"),
        "times_a_copy": 1 / ratios["copy"],
        "milliseconds": {name: statistics.median(values) for name, values in times.items()},
    }
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['hardware']}, {options.threads} threads, torch {result['torch']}, {'x'.join(map(str, shape))}\n")
    for name, milliseconds in result["milliseconds"].items():
        print(f"{name:16} {milliseconds:8.2f} ms   {ratios.get(name, 1.0):5.2f} times ours")


if __name__ == "__main__":
    main()
