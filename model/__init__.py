"""The video model in pure PyTorch: VAE, diffusion transformer, flow, samplers, text encoders, weights.

In: tensors and plain config dataclasses. Out: tensors and safetensors files. Knows no Ray, DeepSpeed or
Hydra.
"""
