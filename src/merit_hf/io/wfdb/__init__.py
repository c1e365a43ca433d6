"""Decoding of WFDB records: their text headers, and the samples of their signal files."""
