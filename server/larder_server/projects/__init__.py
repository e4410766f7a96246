"""Projects: folders of runs and datasets inside a tenant, made when first named."""
