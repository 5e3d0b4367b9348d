"""Statistics of a run: ablation, paired differences, networks, Pareto front, progress. Writes nothing."""
