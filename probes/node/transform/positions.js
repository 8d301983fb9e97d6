// Where a generated position is written in the original source, for files with a source map.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { fileURLToPath, pathToFileURL } = require('node:url');
const { TraceMap, originalPositionFor } = require('@jridgewell/trace-mapping');

const kReference = /^[ \t]*\/\/[#@] sourceMappingURL=(\S+)[ \t]*$/gm;
const kInline = /^data:application\/json[^,]*?(;base64)?,(.*)$/;

function mapText(source, file) {
  const found = [...source.matchAll(kReference)].pop();
  if (!found) return null;
  const inline = kInline.exec(found[1]);
  if (inline) return inline[1] ? Buffer.from(inline[2], 'base64').toString() : decodeURIComponent(inline[2]);
  return fs.readFileSync(path.resolve(path.dirname(file), decodeURIComponent(found[1])), 'utf8');
}

/// Null without a map that can be read: then positions are those of the file itself.
function originalPositions(source, file) {
  try {
    const text = mapText(source, file);
    return text ? new Positions(new TraceMap(text, pathToFileURL(file).href)) : null;
  } catch {
    return null;
  }
}

const asPath = (source) => (source.startsWith('file:') ? fileURLToPath(source) : source);

class Positions {
  constructor(map) {
    this.map = map;
    this.files = map.resolvedSources.filter(Boolean).map(asPath);
  }
  /// { file, line } of acorn's { line, column }; null where the map says nothing.
  at(position) {
    const found = originalPositionFor(this.map, position);
    return found.source === null ? null : { file: asPath(found.source), line: found.line };
  }
}

module.exports = { originalPositions };
