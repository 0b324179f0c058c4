"""Footage → dataset → batches: everything about clips and shards, nothing about models' insides."""
