#!/usr/bin/env bash
# The Python module: builds the wheel, installs it into a fresh virtual environment, runs its tests
# and the notebooks. The wheel is built in `target`, where the tests of the workspace were built.
#
#     bash scripts/check_python.sh [cargo's options]      such as --config FILE
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf target/wheels target/wheel-python
bin=$PWD/target/wheel-python/bin
if ! { python3 -m venv target/wheel-python && "$bin/pip" install --quiet 'maturin>=1.9,<2'; }; then
  echo "*** no Python with venv and a package index: the wheel is not tested ***"
  exit 0
fi
"$bin/maturin" build --release --locked --interpreter "$bin/python" --out target/wheels "$@"
wheel=$(echo target/wheels/*.whl)
"$bin/pip" install --quiet "${wheel}[test]"
"$bin/python" -m pytest --quiet
# In the order of their names; a failing assertion in a cell fails.
"$bin/jupyter" nbconvert --to notebook --execute --output-dir target/notebooks \
  --log-level WARN docs/notebooks/*.ipynb
