// Build step: node bundle.cjs OUTPUT PRIVATE_DIRECTORY. Installs the locked packages there and bundles the transform
// into one file, with the licences of what it holds.
'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const [output, directory] = process.argv.slice(2).map((name) => path.resolve(name));
const modules = path.join(directory, 'node_modules');

function install() {
  fs.mkdirSync(directory, { recursive: true });
  for (const name of ['package.json', 'package-lock.json'])
    fs.copyFileSync(path.join(__dirname, name), path.join(directory, name));
  // no script of a package is run: esbuild's program comes as a package of its own
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/// Some packages have theirs at the end of their README.
function licenceText(home) {
  const read = (file) => fs.readFileSync(path.join(home, file), 'utf8').trim();
  const file = fs.readdirSync(home).find((entry) => /^licen[cs]e/i.test(entry));
  if (file) return read(file);
  const found = /^#+ *licen[cs]e\s*$([^]*)/im.exec(read('README.md'));
  if (!found) throw new Error(`${home} has no licence text: what is bundled must carry its licence`);
  return found[1].trim();
}

function licencesOf(inputs) {
  const packages = new Set();
  for (const input of inputs) {
    const found = /^((?:@[^/]+\/)?[^./][^/]*)\//.exec(path.relative(modules, input));
    if (found) packages.add(found[1]);
  }
  return [...packages].sort().map((name) => {
    const home = path.join(modules, name);
    return `${name}\n\n${licenceText(home)}\n`;
  });
}

install();
const esbuild = require(path.join(modules, 'esbuild'));
const built = esbuild.buildSync({
  entryPoints: [path.join(__dirname, 'index.js')],
  outfile: output,
  bundle: true,
  platform: 'node',
  target: 'node18',
  nodePaths: [modules],
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});
const licences = licencesOf(Object.keys(built.metafile.inputs)).join(`\n${'-'.repeat(80)}\n\n`);
const comment = `This file holds the packages below, under their licences.\n\n${licences}`.replace(/\*\//g, '* /');
fs.appendFileSync(output, `\n/*\n${comment}*/\n`);
