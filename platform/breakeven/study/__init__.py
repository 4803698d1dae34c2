"""What is asked: specification, plan, identities. Knows neither physics, models nor what has been done."""
