"""How images and artefacts are made: recipes, the pool of builds, Debian, budgets, provenance, schemas."""
