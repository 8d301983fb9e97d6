// What import 'watcher' gives: the very functions that require('watcher') gives.
import { createRequire } from 'node:module';

const api = createRequire(import.meta.url)('./watcher.cjs');

export default api;
export const { watch, unwatch, pause, resume, stats } = api;
