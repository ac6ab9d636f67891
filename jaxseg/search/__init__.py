"""Search: spaces of architectures as data, genotypes, and what is chosen among them."""
