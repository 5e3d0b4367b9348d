"""Building blocks of spiking networks: neurons, surrogates, attention, encoding, spike counts. Needs only torch."""
