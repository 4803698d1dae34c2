"""The three stages of a study that compute: events, backbones, trials. Each finds what is done and does the rest."""
