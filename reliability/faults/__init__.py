"""System calls that fail, programs that are killed, clocks that jump: what is lost by them."""
