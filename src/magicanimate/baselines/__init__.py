"""What the method is compared with: copying, warping by body parts, and a generative adversarial network."""
