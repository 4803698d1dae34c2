"""Events at rest: schema, store, flat arrays, samples. Knows physics; knows neither models nor studies."""
