"""Images and arrays of every library: taken in, and given back as they came."""
