import api from './index.cjs';

export default api;
export const { watch, unwatch, pause, resume, stats } = api;
