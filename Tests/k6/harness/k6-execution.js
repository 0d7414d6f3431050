import { state } from './state.js';

export default {
  vu: { idInTest: 1 },
  get scenario() {
    return state.scenario;
  },
};
