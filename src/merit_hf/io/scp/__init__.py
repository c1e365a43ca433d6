"""Decoding of SCP-ECG files: their sections, the Huffman code, and the samples of the rhythm."""
