#!/bin/sh
# Tells Spark which GPUs this container has, in the form that spark.{driver,executor,worker}.resource.gpu.discoveryScript wants:
# {"name": "gpu", "addresses": ["0","1"]}
set -eu
addresses=$(nvidia-smi --query-gpu=index --format=csv,noheader | sed 's/[^0-9]//g; s/.*/"&"/' | paste -s -d, -)
echo "{\"name\": \"gpu\", \"addresses\": [$addresses]}"
