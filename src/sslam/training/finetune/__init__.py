"""Fine-tuning: from a model, labelled clips and a recipe to a model with classes (`run`)."""
