// import 'watcher' on node before 22.15, in the thread where its hooks live.
let url;

export function initialize(data) {
  ({ url } = data);
}

export async function resolve(specifier, context, next) {
  if (specifier !== 'watcher') return next(specifier, context);
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return { url, format: 'module', shortCircuit: true };
  }
}
