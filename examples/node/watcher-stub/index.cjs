// What require('watcher') gives where nobody watches. An installed package of this name wins over the injected one: keep
// it to runs without Watcher, such as by NODE_PATH.
'use strict';
const stats = () => ({
  emitted: 0, dropped: 0, blocked: 0, neighbourTraps: 0, kernelRedirects: 0, singleSteps: 0, regions: 0, engine: '', engineReason: '',
});

module.exports = { watch: (value) => value, unwatch: () => false, pause() {}, resume() {}, stats };
