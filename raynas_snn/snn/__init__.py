"""Building blocks of spiking networks: neurons, surrogates, attention, encoding, counting. Needs torch only."""
