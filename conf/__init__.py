"""Hydra's side: registers the packages' config dataclasses and holds the YAML defaults and experiments, a folder per job."""
