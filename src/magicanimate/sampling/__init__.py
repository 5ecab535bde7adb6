"""The sampling loop: windows, reference bank, control features, solver."""
