"""Tables: their schemas and the questions asked of them."""
