"""What is measured of imputers and task models, as sums that add up over sites, and what is read from
them."""
