"""Networks that find small objects: patches about them and away from them."""
