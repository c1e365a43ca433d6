"""Pictures: the ECG page, score bars, curves, results, descriptions. All of them need matplotlib."""

try:
    import matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ModuleNotFoundError(
        'drawing needs matplotlib, which is not installed: pip install "merit-hf[plot]"', name="matplotlib"
    ) from None
