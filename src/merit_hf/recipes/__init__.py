"""Training recipes, one YAML file each, that `merit pretrain` and `merit finetune` find by name."""
