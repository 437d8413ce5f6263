"""The numbers behind figures, comparisons and pages, as tidy tables of one row a value."""
