"""Kinds of trial: short recipes that say what one trial does, to copy and change. Logic lives in raynas_snn."""
