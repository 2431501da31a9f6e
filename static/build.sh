#!/bin/sh
# Bundles static/vendor from the packages that package-lock.json pins. Run it after changing a version; the result is
# committed, so that building and running Portico needs no Node.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$here/package.json" "$here/package-lock.json" "$work/"
cp -r "$here/bundle" "$work/"
cd "$work"
npm ci --ignore-scripts --no-audit --no-fund --silent

# A strict policy forbids inline style: xterm.js makes its sheets through bundle/sheet.js instead.
sed -i -E 's/([A-Za-z_.]+)\.createElement\("style"\)/styleSheetElement(\1)/g; s/([A-Za-z_.]+)\.setAttribute\("style",/styleText(\1,/g' \
  node_modules/@xterm/xterm/lib/xterm.mjs node_modules/@xterm/addon-webgl/lib/addon-webgl.mjs
grep -q 'styleSheetElement(' node_modules/@xterm/xterm/lib/xterm.mjs

mkdir vendor
for part in preact xterm; do
  node_modules/.bin/esbuild "bundle/$part.js" --bundle --minify --format=esm --target=es2022 --legal-comments=none --inject:bundle/sheet.js \
    --log-level=warning --outfile="vendor/$part.js"
done
cp node_modules/@xterm/xterm/css/xterm.css vendor/xterm.css

for package in preact htm @xterm/xterm @xterm/addon-fit @xterm/addon-unicode11 @xterm/addon-web-links @xterm/addon-webgl; do
  version=$(node -p "require('./node_modules/$package/package.json').version")
  printf '%s %s\n\n' "$package" "$version"
  cat "node_modules/$package/LICENSE" 2>/dev/null || node -p "'Licence: ' + require('./node_modules/$package/package.json').license"
  printf '\n%s\n\n' '----'
done > vendor/LICENCES.txt

mkdir -p "$here/vendor"
cp vendor/* "$here/vendor/"
ls -l "$here/vendor"
