"""What a network costs before it is trained: parameters, operations, bytes."""
