/** Watcher: who changed this variable? */

export interface WatchOptions {
  /** What the events call it; default: the place of the call. */
  name?: string;
  /** Say in each event which thread it was by name. */
  trackThreads?: boolean;
  /** Say in each event under which SQL statement it happened. */
  trackSQL?: boolean;
  /** Changed bytes that an event lists. */
  mutationDepth?: 'FULL' | number;
  /** Which changes are recorded, such as 'new > 100'. */
  when?: string;
  /** Share of the changes that is recorded, 0 to 1. */
  sample?: number;
  /** Most events a second; 0: no limit. */
  maxPerSecond?: number;
  /** Steps inside an object that still count. */
  depth?: number;
}

export interface WatchStats {
  emitted: number;
  dropped: number;
  blocked: number;
  neighbourTraps: number;
  kernelRedirects: number;
  singleSteps: number;
  regions: number;
  engine: string;
  engineReason: string;
}

/** Watches a value; memory is returned as the same object. */
export function watch<T>(value: T, options?: WatchOptions): T;
/** Ends the watches on a value; false when there are none. */
export function unwatch(value: unknown): boolean;
/** Until resume() nothing is recorded of watched memory, and stores to it cost nothing. */
export function pause(): void;
export function resume(): void;
export function stats(): WatchStats;

declare const api: {
  watch: typeof watch;
  unwatch: typeof unwatch;
  pause: typeof pause;
  resume: typeof resume;
  stats: typeof stats;
};
export default api;
