"""What benchmarks share: options, results, time, memory, what a process opens, and the judges of results."""
