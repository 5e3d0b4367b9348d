"""All readers by name."""

from collections.abc import Mapping

from hostile import images, runs, sweeps, trials
from hostile.place import Attack

READERS: Mapping[str, Attack] = {
    "sweep file": sweeps.attack_sweep_file,
    "--set": sweeps.attack_set,
    "sweep.points": sweeps.attack_points,
    "names": sweeps.attack_names,
    "config.yaml, manifest.json": runs.attack_settings,
    "trials.jsonl": runs.attack_records,
    "trial folder": runs.attack_trial_folder,
    "lock": runs.attack_lock,
    "status": runs.attack_status,
    "report": runs.attack_report,
    "sweep --dry-run": runs.attack_dry_run,
    "sweep.warm_start": runs.attack_warm_start,
    "genotype": trials.attack_genotype,
    "split.npz": trials.attack_split,
    "checkpoint": trials.attack_checkpoint,
    "image": images.attack_image,
    "folder": images.attack_image_folder,
    "tiny_imagenet": images.attack_tiny_imagenet,
    "cifar": images.attack_cifar,
}
