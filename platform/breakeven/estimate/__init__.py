"""What a study will take, from what is known of this machine: speeds, price, pace, budget. Measures and runs nothing."""
