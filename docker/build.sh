#!/usr/bin/env bash
# Builds the images. usage: docker/build.sh [--push REGISTRY] [TARGET...]      targets: cpu cuda intel (all by default)
# DOCKER names the program (docker, podman, buildah), BASE the Debian 12 image to start from. Images are called
# caffeonspark:VERSION-TARGET and caffeonspark:TARGET. Needs the network for the base image, Debian packages and PyPI only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "build.sh: $*" >&2
  exit 1
}

registry=
if [ "${1:-}" = --push ]; then
  [ $# -ge 2 ] || die "--push needs a registry, such as registry.example.org/team"
  registry=$2/
  shift 2
fi
targets=("$@")
[ $# -gt 0 ] || targets=(cpu cuda intel)
for target in "${targets[@]}"; do
  case $target in cpu | cuda | intel) ;; *) die "unknown target $target (known: cpu, cuda, intel)" ;; esac
done

program=${DOCKER:-}
for found in docker podman buildah; do
  [ -n "$program" ] || ! command -v $found >/dev/null || program=$found
done
[ -n "$program" ] || die "found none of docker, podman and buildah"
wheels=(dist/*.whl)
[ -e "${wheels[0]}" ] || die "dist/ has no wheel; run 'make build' first"
[ ${#wheels[@]} -eq 1 ] || die "dist/ has ${#wheels[@]} wheels, expected one"
version=${wheels[0]#dist/caffeonspark-}
version=${version%%-*}

arguments=()
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
for target in "${targets[@]}"; do
  names=("${registry}caffeonspark:$version-$target" "${registry}caffeonspark:$target")
  "$program" build "${arguments[@]}" -f docker/Dockerfile --target "$target" -t "${names[0]}" -t "${names[1]}" .
  [ -z "$registry" ] || for name in "${names[@]}"; do "$program" push "$name"; done
done
