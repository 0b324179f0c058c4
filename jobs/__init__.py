"""What a person runs: one thin module per job, and the Ray graphs, the trainer and the pages behind them."""
