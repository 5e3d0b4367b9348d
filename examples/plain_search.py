"""A whole search and retraining in a plain script or notebook: no sweep, no cluster, no Ray.

python examples/plain_search.py [FOLDER]
"""

import sys
from pathlib import Path

from raynas_snn import TrialContext, load_sweep
from trials.search_then_retrain import search_then_retrain

# Everything a sweep file may hold, on top of the small default.
settings = ["model.attention=ma", "search.epochs=1", "retrain.epochs=6", *sys.argv[2:]]
trial = load_sweep(None, settings).trial_config(proposal=0, repeat=0, values={})
# The folder keeps a checkpoint: the same script goes on where it was interrupted.
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "plain_search")
folder.mkdir(exist_ok=True)

metrics = search_then_retrain(
    trial,
    TrialContext(folder, lambda row: print(f"{row['phase']:8} epoch {row['phase_epoch']}  {row['accuracy']:.3f}")),
)
print(f"accuracy {metrics['accuracy']:.3f}, {metrics['spikes']:.0f} spikes and {metrics['energy_uj']:.2f} uJ per image")
print((folder / "genotype.json").read_text())
