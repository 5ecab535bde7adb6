"""Execution of the networks: device, processes, fused layers, kernels, CUDA graphs."""
