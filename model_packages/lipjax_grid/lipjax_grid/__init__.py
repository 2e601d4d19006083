"""Weights trained on GRID; `lipjax generate --model grid`. Terms: LICENSE.md."""
