"""The pictures of the documentation; ``python -m scripts.make_figures`` draws them."""
