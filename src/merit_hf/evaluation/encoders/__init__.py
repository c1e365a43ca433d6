"""What turns records into features: MERIT, models of the Hub, random convolutions."""
