"""A hub and its nodes, and what is measured of them."""
