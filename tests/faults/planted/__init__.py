"""What is planted in processes of the product: faults that a run must find, and a clock that goes wrong."""
