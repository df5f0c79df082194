"""The closed loop: drift, a hook that trains a new version on what came lately, a promotion that has to be earned."""
