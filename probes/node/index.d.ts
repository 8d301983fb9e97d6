export function watch<T>(value: T): T;
