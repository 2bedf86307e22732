"""What clips have beside pictures: a length, a rate, a first frame; their files, and decoding in a stream."""
