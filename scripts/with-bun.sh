#!/bin/sh
# Runs `bun "$@"` in this package with the pinned Bun and all dependencies installed. Needs Bun or npm, nothing else:
# where there is no Bun (or an older one), npm fetches it into .bun/.
set -eu
cd "$(dirname "$0")/.."
wanted=$(sed -n 's/.*"bun": "\([0-9][0-9.]*\)".*/\1/p' package.json | head -n 1)

if command -v bun >/dev/null 2>&1 && [ "$(bun --version 2>/dev/null)" = "$wanted" ]; then
  bun=bun
else
  bun=$PWD/.bun/node_modules/.bin/bun
  if [ "$("$bun" --version 2>/dev/null || true)" != "$wanted" ]; then
    if command -v npm >/dev/null 2>&1; then
      echo "installing Bun $wanted into .bun/ (once)" >&2
      npm install --prefix .bun --no-audit --no-fund --loglevel=error "bun@$wanted" >&2 || true
      # Since npm 12 a package's install script, which unpacks the program, runs only where that is allowed.
      if [ "$("$bun" --version 2>/dev/null || true)" != "$wanted" ] && [ -f .bun/node_modules/bun/install.js ]; then
        (cd .bun/node_modules/bun && node install.js) >&2 || true
      fi
    elif command -v bun >/dev/null 2>&1; then
      echo "installing Bun $wanted into .bun/ (once; the one on PATH is $(bun --version))" >&2
      mkdir -p .bun && (cd .bun && echo '{"trustedDependencies":["bun"]}' >package.json && bun add --exact "bun@$wanted") >&2 || true
    else
      echo "Flotilla needs Bun $wanted, and neither bun nor npm is on the PATH: install one of them first." >&2
      exit 1
    fi
    if [ "$("$bun" --version 2>/dev/null || true)" != "$wanted" ]; then
      echo "Bun $wanted could not be installed into .bun/: see above. It takes the npm registry to be reachable, once." >&2
      exit 1
    fi
  fi
fi
PATH=$(dirname "$(command -v "$bun")"):$PWD/node_modules/.bin:$PATH
export PATH
"$bun" install --frozen-lockfile --silent
exec "$bun" "$@"
