import { state } from './state.js';

export function check(value, conditions) {
  let all = true;
  for (const [name, condition] of Object.entries(conditions)) {
    const holds = Boolean(condition(value));
    const counted = state.checks.get(name) ?? { passes: 0, fails: 0 };
    counted[holds ? 'passes' : 'fails']++;
    state.checks.set(name, counted);
    all &&= holds;
  }
  return all;
}

const still = new Int32Array(new SharedArrayBuffer(4));

export function sleep(seconds) {
  Atomics.wait(still, 0, 0, seconds * 1000);
}
