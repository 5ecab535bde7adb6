"""How the networks are run: device, processes, fused layers, kernels, CUDA graphs."""
