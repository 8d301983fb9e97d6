// The thread where node before 22.15 has the hooks of modules: sites are numbered for the whole process.
import { createRequire } from 'node:module';

const { loadedModule } = createRequire(import.meta.url)('./load_hooks.cjs');

export async function load(url, context, next) {
  return loadedModule(url, await next(url, context));
}
