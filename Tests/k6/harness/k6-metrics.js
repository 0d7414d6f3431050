import { state } from './state.js';

export class Counter {
  constructor(name) {
    this.name = name;
    state.counters.set(name, 0);
  }

  add(value) {
    state.counters.set(this.name, state.counters.get(this.name) + value);
  }
}
