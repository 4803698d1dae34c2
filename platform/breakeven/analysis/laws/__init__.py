"""How error falls with the number of events: power laws, scaling laws, forecasts."""
