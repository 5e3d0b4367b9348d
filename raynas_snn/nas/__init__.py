"""What is searched (operations, cells, networks, genotypes) and how (bilevel optimisation). Needs torch only."""
