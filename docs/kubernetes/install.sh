#!/bin/sh
# Installs the package from a checkout, and checks that its command and its definitions load.
#   sh install.sh CHECKOUT EXTRAS
set -eu
python -m pip install --no-cache-dir --disable-pip-version-check "$1[$2]"
cd /
rft --help > /dev/null
python -c 'import rft_pipeline.dagster_assets.kubernetes'
