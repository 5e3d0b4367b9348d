"""Training with torch, without ray: data on the device, epochs, checkpoints, search strategies, retraining."""
